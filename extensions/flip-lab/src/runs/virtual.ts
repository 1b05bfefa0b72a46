/** Which lines of a long list to draw, in lines and pixels; all lines are equally high. */
export interface IWindow {
  /** The first line to draw. */
  first: number;
  /** The line after the last one to draw. */
  end: number;
}

/**
 * Says which lines of a list can be seen, and some more on both sides, so that scrolling does
 * not outrun drawing.
 *
 * @param top_px How far the list is scrolled; a browser may give less than 0 or too much.
 */
export function drawn(top_px: number, height_px: number, line_px: number, count: number, spare: number): IWindow {
  const furthest = Math.max(0, count * line_px - height_px);
  const top = Math.min(Math.max(0, top_px), furthest);
  const first = Math.max(0, Math.floor(top / line_px) - spare);
  const end = Math.min(count, Math.ceil((top + Math.max(0, height_px)) / line_px) + spare);
  return { first: Math.min(first, end), end };
}

/** Gives how far to scroll so that a line can be seen whole: no further than needed. */
export function scrolledTo(line: number, top_px: number, height_px: number, line_px: number): number {
  const begin = line * line_px;
  if (begin < top_px) return begin;
  return begin + line_px > top_px + height_px ? Math.max(0, begin + line_px - height_px) : top_px;
}
