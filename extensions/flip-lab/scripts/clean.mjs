// Removes what the compiler made before: files whose sources are gone would be shipped, too.
import { rmSync } from 'node:fs';

const made = process.argv.length > 2 ? process.argv.slice(2) : ['lib'];
for (const folder of made) rmSync(folder, { recursive: true, force: true });
