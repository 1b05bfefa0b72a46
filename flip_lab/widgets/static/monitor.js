// The live run monitor: draws the snapshots that Python sends (flip_lab/widgets/snapshot.py).
// Plain DOM, no dependency. Text only ever enters the page as text, never as markup.
// card.py draws the same elements as static HTML; a browser test compares the two.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 240;
const HEIGHT = 56;

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

export function durationText(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (hours) return `${hours}:${two(minutes)}:${two(rest)} h`;
  return minutes ? `${minutes}:${two(rest)} min` : `${rest} s`;
}

// Where each point lies in a box of 240 by 56; a diverged value (null) has no height.
function places(points) {
  const values = points.map(([, value]) => value).filter((value) => value !== null);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [first, last] = [points[0][0], points[points.length - 1][0]];
  const span = high / 2 - low / 2; // halved, so that the largest doubles do not overflow
  return points.map(([at, value]) => {
    const x = last > first ? (at - first) / (last - first) : 0.5;
    const y = span > 0 ? (value / 2 - low / 2) / span : 0.5;
    const height = value === null ? null : Math.floor(HEIGHT * (1 - y) + 0.5);
    return [Math.floor(WIDTH * x + 0.5), height];
  });
}

export function sparkPaths(points) {
  let [line, crosses, dot, pen] = ["", "", "", "M"];
  for (const [x, y] of points.length ? places(points) : []) {
    if (y === null) {
      crosses += `M${x - 4} ${HEIGHT - 8}l8 8m0 -8l-8 8`;
      pen = "M";
    } else {
      line += `${pen}${x} ${y}`;
      dot = `M${x} ${y}h0`;
      pen = "L";
    }
  }
  return { line, crosses, dot };
}

function sparkline(points) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "flip-spark");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const { line, crosses, dot } = sparkPaths(points);
  const drawn = [["flip-line-path", line], ["flip-cross", crosses], ["flip-dot", dot]];
  for (const [className, d] of drawn) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", className);
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

function tile(metric) {
  const central = metric.scope === "central";
  const box = element("div", "flip-tile");
  box.classList.toggle("flip-central", central);
  box.classList.toggle("flip-diverged", metric.diverged);
  const name = element("p", "flip-metric", central ? `${metric.name} (central)` : metric.name);
  name.title = `${metric.name}, ${metric.phase}, ${metric.scope}`;
  box.append(name, element("p", "flip-value", metric.value), sparkline(metric.points));
  if (metric.best) box.append(element("p", "flip-best", metric.best));
  return box;
}

function cohort(strip) {
  const each = strip.clients_per_square;
  const words = each > 1 ? `${strip.words} (a square is ${each} clients)` : strip.words;
  const squares = element("div", "flip-squares");
  squares.classList.toggle("flip-many", strip.squares.length > 24);
  squares.setAttribute("role", "img");
  squares.setAttribute("aria-label", words);
  for (const state of strip.squares) squares.append(element("i", `flip-${state}`));
  return [element("p", "", words), squares];
}

function failure(failed) {
  const note = element("div", "flip-note");
  const what = element("p");
  if (failed.code) what.append(element("strong", "", failed.code), " ");
  what.append(failed.what);
  note.append(what);
  if (failed.fix) note.append(element("p", "", `Fix: ${failed.fix}`));
  if (failed.detail) {
    const more = element("details");
    more.append(element("summary", "", "Details"), element("pre", "", failed.detail));
    note.append(more);
  }
  return note;
}

function warnings(snapshot) {
  const note = element("div", "flip-note flip-warnings");
  const many = snapshot.num_warnings > snapshot.warnings.length;
  const title = many ? `Newest of ${snapshot.num_warnings} warnings` : "Warnings";
  note.append(element("strong", "", title));
  for (const warning of snapshot.warnings) note.append(element("p", "", warning));
  return note;
}

function copyButton() {
  const button = element("button", "", "Copy");
  button.type = "button";
  button.addEventListener("click", async () => {
    const hint = button.parentElement.querySelector("code").textContent;
    await navigator.clipboard.writeText(hint).then(
      () => { button.textContent = "Copied"; },
      () => { button.textContent = "Press Ctrl+C"; getSelection().selectAllChildren(button.parentElement.querySelector("code")); },
    );
  });
  return button;
}

function skeleton() {
  const parts = {
    root: element("section", "flip-monitor"),
    name: element("span", "flip-name"),
    id: element("code"),
    badge: element("span", "flip-badge"),
    bar: element("div", "flip-bar"),
    fill: element("div", "flip-fill"),
    round: element("span", "flip-round"),
    elapsed: element("span", "flip-elapsed"),
    eta: element("span", "flip-eta"),
    percent: element("span", "flip-percent"),
    tiles: element("div", "flip-tiles"),
    hidden: element("p", "flip-hidden"),
    cohort: element("div", "flip-cohort"),
    notes: element("div", "flip-notes"),
    totals: element("span", "flip-totals"),
    hint: element("code"),
  };
  const head = element("div", "flip-head");
  head.append(parts.name, parts.id, parts.badge);
  parts.badge.setAttribute("role", "status");
  parts.badge.setAttribute("aria-live", "polite");
  parts.bar.setAttribute("role", "progressbar");
  parts.bar.setAttribute("aria-label", "Progress of the run");
  parts.bar.setAttribute("aria-valuemin", "0");
  parts.bar.setAttribute("aria-valuemax", "100");
  parts.bar.append(parts.fill);
  const line = element("p", "flip-line");
  line.append(parts.round, parts.elapsed, parts.eta, parts.percent);
  const foot = element("div", "flip-foot");
  const back = element("span", "flip-back");
  back.append("Reattach: ", parts.hint, " ", copyButton());
  foot.append(parts.totals, back);
  parts.root.append(head, parts.bar, line, parts.tiles, parts.hidden, parts.cohort, parts.notes, foot);
  return parts;
}

// Leaves a part alone while it stays the same, so that focus and open details survive.
function fill(part, facts, build) {
  const key = JSON.stringify(facts);
  if (part.dataset.shows === key) return;
  part.dataset.shows = key;
  part.replaceChildren(...build());
  part.hidden = !part.hasChildNodes();
}

function drawBar(parts, snapshot) {
  const known = snapshot.fraction !== null;
  const percent = known ? Math.floor(snapshot.fraction * 100 + 0.5) : 0;
  parts.bar.classList.toggle("flip-unknown", !known && snapshot.state === "running");
  parts.bar.setAttribute("aria-valuetext", snapshot.round_words);
  if (known) parts.bar.setAttribute("aria-valuenow", String(percent));
  else parts.bar.removeAttribute("aria-valuenow");
  parts.fill.style.width = known ? `${percent}%` : snapshot.state === "running" ? "" : "0%";
  parts.percent.textContent = known ? `${percent} %` : "";
  parts.round.textContent = snapshot.round_words;
}

// Between two snapshots the clock goes on; the run's last event says where it stood.
function drawClock(parts, snapshot) {
  const known = snapshot.elapsed_s;
  const ticking = snapshot.started_s !== null && ["starting", "running"].includes(snapshot.state);
  const now = ticking ? Math.max(known, Date.now() / 1000 - snapshot.started_s) : known;
  parts.elapsed.textContent = snapshot.started_s === null ? "" : `${durationText(now)} elapsed`;
  const left = snapshot.eta_s === null ? null : Math.max(0, snapshot.eta_s - (now - known));
  parts.eta.textContent = left === null ? "" : `about ${durationText(left)} left`;
}

function draw(parts, snapshot) {
  if (parts.root.dataset.state !== snapshot.state) {
    parts.root.dataset.state = snapshot.state;
    parts.badge.textContent = snapshot.state;
  }
  parts.root.setAttribute("aria-label", `Run ${snapshot.name || snapshot.run_id}`);
  parts.name.textContent = snapshot.name;
  parts.name.hidden = !snapshot.name;
  parts.id.textContent = snapshot.run_id;
  drawBar(parts, snapshot);
  drawClock(parts, snapshot);
  fill(parts.tiles, snapshot.tiles, () => snapshot.tiles.map(tile));
  parts.hidden.textContent = `and ${snapshot.hidden_tiles} more metrics`;
  parts.hidden.hidden = !snapshot.hidden_tiles;
  const strip = snapshot.is_final ? null : snapshot.cohort;
  fill(parts.cohort, strip, () => (strip ? cohort(strip) : []));
  const failures = [snapshot.error, snapshot.watch_error].filter(Boolean);
  fill(parts.notes, [failures, snapshot.warnings, snapshot.num_warnings], () => [
    ...failures.map(failure),
    ...(snapshot.warnings.length ? [warnings(snapshot)] : []),
  ]);
  parts.totals.textContent = snapshot.totals;
  parts.hint.textContent = snapshot.hint;
}

function render({ model, el }) {
  const parts = skeleton();
  const update = () => draw(parts, model.get("snapshot"));
  const clock = setInterval(() => drawClock(parts, model.get("snapshot")), 1000);
  update();
  model.on("change:snapshot", update);
  el.append(parts.root);
  return () => {
    clearInterval(clock);
    model.off("change:snapshot", update);
  };
}

export default { render };
