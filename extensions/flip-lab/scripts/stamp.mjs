// Writes the hash of the sources beside what was built from them. A build in another folder is
// the same but for the name of one file, so the committed build is compared by its sources
// (tests/unit/house/test_extension.py computes the same hash).
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const SOURCES = ['install.json', 'package-lock.json', 'package.json', 'schema', 'src', 'style', 'tsconfig.json'];

function files(path) {
  if (statSync(path).isFile()) return [path];
  return readdirSync(path).flatMap(name => files(join(path, name)));
}

const hash = createHash('sha256');
for (const path of SOURCES.flatMap(files).sort()) {
  const content = createHash('sha256').update(readFileSync(path)).digest('hex');
  hash.update(`${path.replaceAll('\\', '/')} ${content}\n`);
}
writeFileSync('labextension/sources.sha256', `${hash.digest('hex')}\n`);
