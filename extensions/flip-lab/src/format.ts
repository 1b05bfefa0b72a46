/** Words for numbers, as the lab's other faces write them (flip_lab/boards/run/snapshot.py). */

/** A number that JSON cannot hold comes as a text: "NaN", "Infinity" or "-Infinity". */
export type JsonNumber = number | 'NaN' | 'Infinity' | '-Infinity';

/** A metric's value in four significant digits. */
export function numberText(value: JsonNumber): string {
  const number = Number(value);
  if (Number.isNaN(number)) return 'NaN';
  if (!Number.isFinite(number)) return number > 0 ? '∞' : '−∞';
  return String(Number(number.toPrecision(4)));
}

/** A duration as a person says it: `42 s`, `3:07 min` or `2:05:09 h`. */
export function durationText(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (part: number): string => String(part).padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = whole % 60;
  if (hours > 0) return `${hours}:${two(minutes)}:${two(rest)} h`;
  return minutes > 0 ? `${minutes}:${two(rest)} min` : `${rest} s`;
}

/** A size in the largest binary unit that leaves at least one. */
export function bytesText(size_bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let size = size_bytes;
  let step = 0;
  while (size >= 999.5 && step < units.length - 1) {
    size /= 1024;
    step += 1;
  }
  return `${Number(size.toPrecision(3))} ${units[step]}`;
}

/** Made once: making one costs as much as drawing a line of a list. */
const relative = new Map<string, Intl.RelativeTimeFormat>();

function relativeFormat(style: 'short' | 'narrow', language?: string): Intl.RelativeTimeFormat {
  const name = `${style} ${language}`;
  let format = relative.get(name);
  if (format === undefined) {
    format = new Intl.RelativeTimeFormat(language, { numeric: 'auto', style });
    relative.set(name, format);
  }
  return format;
}

/** How long ago a moment was, in the reader's language. */
export function agoText(
  moment: string,
  now_ms: number,
  style: 'short' | 'narrow' = 'short',
  language?: string
): string {
  const seconds = (Date.parse(moment) - now_ms) / 1000;
  const steps: [Intl.RelativeTimeFormatUnit, number][] = [
    ['day', 86_400],
    ['hour', 3_600],
    ['minute', 60],
    ['second', 1]
  ];
  const [unit, size] = steps.find(([, each]) => Math.abs(seconds) >= each) ?? ['second', 1];
  return relativeFormat(style, language).format(Math.trunc(seconds / size), unit);
}
