// The comparer: shows the picture that Python draws (flip_lab/boards/comparer/payload.py) and
// tells Python what is chosen.

const COLOURS = 8;
const DASHES = ["", "8 4", "3 3", "10 3 3 3"];
const MANY_LINES = 24; // from here on lines are thin, and dashes would only flicker
const MOST_LINES = 200; // and from here on thinner still
const BIG_PICTURE = 8000; // points, from which on a slider draws when it is let go
const MARGIN = { left: 58, right: 14, top: 10, bottom: 40 };

// --- Lines ------------------------------------------------------------------------------------

function swatch(group, many) {
  const svg = drawn("svg", { class: "flip-swatch", viewBox: "0 0 26 8", "aria-hidden": "true" });
  svg.append(drawn("path", { d: "M1 4h24", ...look(group, many) }));
  return svg;
}

function look(group, many) {
  const dash = many ? "" : DASHES[group % DASHES.length];
  return {
    style: `stroke: var(--flip-series-${group % COLOURS})`,
    ...(dash ? { "stroke-dasharray": dash } : {}),
  };
}

// --- Numbers --------------------------------------------------------------------------------

function durationText(seconds) {
  if (seconds < 60) return `${Number(seconds.toPrecision(2))} s`;
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const rest = Math.floor(seconds) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(rest)} h` : `${minutes}:${two(rest)} min`;
}

export function logTicks(low, high) {
  const found = [];
  const parts = Math.log10(high / low) > 2.5 ? [1] : [1, 2, 5];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const part of parts) {
      const at = Number((part * 10 ** power).toPrecision(3));
      if (at >= low && at <= high) found.push(at);
    }
  }
  return found.length > 1 ? found : [low, high];
}

// --- A chart: lines with bands, a read-out for pointer and keys -------------------------------

function domain(lines, isLog) {
  const good = (value) => value !== null && value !== undefined && (!isLog || value > 0);
  let [low, high, least, most] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const line of lines) {
    for (let at = 0; at < line.y.length; at += 1) {
      if (!good(line.y[at])) continue;
      [low, high] = [Math.min(low, line.y[at]), Math.max(high, line.y[at])];
      if (line.low && good(line.low[at])) least = Math.min(least, line.low[at]);
      if (line.high && good(line.high[at])) most = Math.max(most, line.high[at]);
    }
  }
  if (low > high) return isLog ? [0.1, 1] : [0, 1];
  const over = isLog ? Math.log10(high / low) : high - low;
  // A band of two seeds may be many times as wide as all curves together: it is cut off.
  const room = over > 0 ? over * 0.75 : Infinity;
  if (isLog) {
    const ends = [Math.max(Math.min(low, least), low / 10 ** room), Math.min(Math.max(high, most), high * 10 ** room)];
    const pad = ends[1] > ends[0] ? (ends[1] / ends[0]) ** 0.04 : 2;
    return [(ends[0] || low / 10) / pad, ends[1] * pad];
  }
  const ends = [Math.max(Math.min(low, least), low - room), Math.min(Math.max(high, most), high + room)];
  const pad = ends[1] > ends[0] ? (ends[1] - ends[0]) * 0.05 : Math.abs(high) * 0.1 || 1;
  return [ends[0] - pad, ends[1] + pad];
}

function linePath(line, px, py) {
  let [path, pen, alone] = ["", "M", false];
  line.y.forEach((value, at) => {
    const height = value === null ? null : py(value);
    if (height === null) {
      if (alone) path += "h0"; // a point without neighbours is a dot
      [pen, alone] = ["M", false];
    } else {
      alone = pen === "M";
      path += `${pen}${px(line.x[at]).toFixed(1)} ${height.toFixed(1)}`;
      pen = "L";
    }
  });
  return alone ? `${path}h0` : path;
}

function bandPath(line, px, py) {
  if (!line.low) return "";
  let path = "";
  for (let from = 0; from < line.y.length; from += 1) {
    let to = from;
    const [above, below] = [[], []];
    while (to < line.y.length && line.low[to] !== null && line.high[to] !== null && py(line.high[to]) !== null) {
      const x = px(line.x[to]);
      above.push([x, py(line.high[to])]);
      below.push([x, py(line.low[to]) ?? py(0)]);
      to += 1;
    }
    if (to === from) continue;
    const widened = to - from > 1 ? [...above, ...below.reverse()] : bar(above[0], below[0]);
    path += `M${widened.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}Z`;
    from = to;
  }
  return path;
}

function bar([x, top], [, bottom]) {
  return [[x - 2, top], [x + 2, top], [x + 2, bottom], [x - 2, bottom]];
}

// A value that is NaN or infinite has no height: it is marked at that of the last one that has.
function heightOf(line, at, py, bottom) {
  for (let before = at; before >= 0; before -= 1) {
    if (line.y[before] !== null && py(line.y[before]) !== null) return py(line.y[before]);
  }
  return bottom;
}

function crossPath(line, px, py, bottom) {
  return Object.keys(line.odd ?? {})
    .map((at) => `M${(px(line.x[at]) - 4).toFixed(1)} ${(heightOf(line, Number(at), py, bottom) - 4).toFixed(1)}l8 8m0 -8l-8 8`)
    .join("");
}

// Draws into `host`. `spec`: label, yTitle, xTitle, lines, hidden (groups), isLog, height, xDomain,
// describe(line, at) -> text, tell(text), open(line, at).
function drawChart(host, spec) {
  const width = Math.max(host.clientWidth, 220);
  const { height } = spec;
  const isShown = (line) => !spec.hidden.has(line.group);
  const anyFork = spec.lines.some((line) => line.fork !== undefined && isShown(line));
  const lines = spec.lines.filter((line) => (line.trunk ? anyFork || isShown(line) : isShown(line)));
  const many = lines.length > MANY_LINES;
  const [left, right, top, bottom] = [MARGIN.left, width - MARGIN.right, MARGIN.top, height - MARGIN.bottom];
  const [xLow, xHigh] = spec.xDomain;
  const [yLow, yHigh] = domain(lines, spec.isLog);
  const px = (x) => (xHigh > xLow ? left + ((x - xLow) / (xHigh - xLow)) * (right - left) : (left + right) / 2);
  const share = spec.isLog
    ? (y) => Math.log(y / yLow) / Math.log(yHigh / yLow)
    : (y) => (y - yLow) / (yHigh - yLow);
  const floor = bottom + height; // far below: what is cut off needs no exact place
  const py = (y) => {
    if (spec.isLog && y <= 0) return y === 0 ? floor : null;
    return Math.max(-height, Math.min(floor, bottom - share(y) * (bottom - top)));
  };
  const shownY = (y) => (spec.isLog && y <= 0 ? null : py(y));
  const about = { viewBox: `0 0 ${width} ${height}`, width, height, class: "flip-chart", role: "application" };
  const svg = drawn("svg", { ...about, tabindex: 0, "aria-roledescription": "chart", "aria-label": spec.label });
  const clip = `flip-clip-${(made += 1)}`;
  const window_ = drawn("clipPath", { id: clip });
  window_.append(drawn("rect", { x: left - 5, y: top - 6, width: right - left + 10, height: bottom - top + 12 }));
  svg.append(window_, axes());

  const inside = drawn("g", { "clip-path": `url(#${clip})` });
  const byGroup = new Map();
  for (const line of lines.filter((each) => each.trunk)) {
    inside.append(drawn("path", { d: linePath(line, px, shownY), class: "flip-path flip-trunk" }));
    inside.append(drawn("path", { d: crossPath(line, px, shownY, bottom), class: "flip-crosses flip-trunk" }));
  }
  for (const line of lines.filter((each) => !each.trunk)) byGroup.set(line.group, [...(byGroup.get(line.group) ?? []), line]);
  for (const [group, mine] of byGroup) {
    const d = mine.map((line) => bandPath(line, px, py)).join("");
    if (d) inside.append(drawn("path", { d, class: "flip-band", style: `fill: var(--flip-series-${group % COLOURS})` }));
  }
  for (const [group, mine] of byGroup) {
    const d = mine.map((line) => linePath(line, px, shownY)).join("");
    inside.append(drawn("path", { d, class: `flip-path${many ? " flip-thin" : ""}${lines.length > MOST_LINES ? " flip-hairline" : ""}`, ...look(group, many) }));
    const crosses = mine.map((line) => crossPath(line, px, shownY, bottom)).join("");
    if (crosses) inside.append(drawn("path", { d: crosses, class: "flip-crosses", style: look(group, true).style }));
  }
  for (const line of lines.filter((each) => each.fork !== undefined && each.y[0] !== null)) {
    const at = { cx: px(line.x[0]).toFixed(1), cy: py(line.y[0]).toFixed(1), r: 4 };
    inside.append(drawn("circle", { ...at, class: "flip-fork", style: look(line.group, true).style }));
  }
  const hair = drawn("path", { class: "flip-hair", d: "" });
  const bold = drawn("path", { class: "flip-bold", d: "" });
  const dot = drawn("circle", { class: "flip-dot", r: 4.5, cx: -99, cy: -99 });
  inside.append(hair, bold, dot);
  svg.append(inside);
  host.replaceChildren(svg);

  function axes() {
    const group = drawn("g", { class: "flip-axes", "aria-hidden": "true" });
    const yTicks = spec.isLog ? logTicks(yLow, yHigh) : ticks(yLow, yHigh, Math.max(3, Math.floor((bottom - top) / 32)));
    for (const at of yTicks) {
      const y = py(at).toFixed(1);
      group.append(drawn("path", { d: `M${left} ${y}H${right}`, class: "flip-grid" }));
      write(numberText(at), left - 7, Number(y) + 4, "end");
    }
    const xTicks = xHigh > xLow ? ticks(xLow, xHigh, Math.max(2, Math.floor((right - left) / 70))) : [xLow];
    for (const at of xTicks.filter((each) => spec.xTitle !== "round" || Number.isInteger(each))) {
      const x = px(at).toFixed(1);
      group.append(drawn("path", { d: `M${x} ${bottom}v4`, class: "flip-axis" }));
      write(numberText(at), Number(x), bottom + 17, "middle");
    }
    const leftAt = spec.xTitle === "round" ? lines.map((line) => line.fork).filter((at) => at !== undefined) : [];
    let free = left; // where the next name has room
    for (const at of [...new Set(leftAt)].sort((one, two) => one - two)) {
      const x = px(at);
      group.append(drawn("path", { d: `M${x.toFixed(1)} ${top}V${bottom}`, class: "flip-fork-line" }));
      if (x < free || right - x < 48) continue;
      write(`fork, ${at}`, x + 4, top + 9, "start");
      free = x + 54;
    }
    group.append(drawn("path", { d: `M${left} ${top}V${bottom}H${right}`, class: "flip-axis" }));
    write(spec.xTitle, right, height - 6, "end", "flip-axis-title");
    return group;

    function write(text, x, y, anchor, name = "flip-tick-text") {
      const node = drawn("text", { x, y, "text-anchor": anchor, class: name });
      node.textContent = text;
      group.append(node);
    }
  }

  const there = (line, at) => (line.y[at] !== null && shownY(line.y[at]) !== null) || line.odd?.[at];
  const spot = (line, at) => [px(line.x[at]), line.y[at] === null ? heightOf(line, at, shownY, bottom) : py(line.y[at])];
  let held = null;

  function hold(line, at) {
    held = { line, at };
    const [x, y] = spot(line, at);
    hair.setAttribute("d", `M${x.toFixed(1)} ${top}V${bottom}`);
    bold.setAttribute("d", linePath(line, px, shownY));
    const { style } = line.trunk ? { style: "stroke: var(--flip-muted)" } : look(line.group, true);
    for (const node of [bold, dot]) node.setAttribute("style", style);
    dot.setAttribute("cx", x.toFixed(1));
    dot.setAttribute("cy", y.toFixed(1));
    spec.tell(spec.describe(line, at));
  }

  function release() {
    held = null;
    hair.setAttribute("d", "");
    bold.setAttribute("d", "");
    dot.setAttribute("cx", -99);
  }

  function nearest(x, y) {
    let [best, found] = [Infinity, null];
    for (const line of lines) {
      for (let at = 0; at < line.x.length; at += 1) {
        if (!there(line, at)) continue;
        const [dx, dy] = [px(line.x[at]) - x, spot(line, at)[1] - y];
        const distance = dx * dx + dy * dy;
        if (distance < best) [best, found] = [distance, { line, at }];
      }
    }
    return found;
  }

  function step(by) {
    for (let at = held.at + by; at >= 0 && at < held.line.x.length; at += by) {
      if (there(held.line, at)) return hold(held.line, at);
    }
  }

  function other(by) {
    const next = lines[(lines.indexOf(held.line) + by + lines.length) % lines.length];
    const x = held.line.x[held.at];
    const places = next.x.map((_, at) => at).filter((at) => there(next, at));
    places.sort((one, two) => Math.abs(next.x[one] - x) - Math.abs(next.x[two] - x));
    if (places.length) hold(next, places[0]);
  }

  function first() {
    const line = lines.find((each) => each.x.some((_, at) => there(each, at)));
    if (line) hold(line, line.x.findLastIndex((_, at) => there(line, at)));
  }

  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const found = nearest(event.clientX - box.left, event.clientY - box.top);
    if (found) hold(found.line, found.at);
  });
  svg.addEventListener("pointerleave", () => { if (document.activeElement !== svg) release(); });
  svg.addEventListener("blur", release);
  svg.addEventListener("focus", () => { if (!held) first(); });
  svg.addEventListener("click", () => { if (held) spec.open?.(held.line, held.at); });
  svg.addEventListener("keydown", (event) => {
    if (!held) first();
    if (!held) return;
    const keys = {
      ArrowRight: () => step(1),
      ArrowLeft: () => step(-1),
      ArrowDown: () => other(1),
      ArrowUp: () => other(-1),
      Home: () => { held.at = -1; step(1); },
      End: () => { held.at = held.line.x.length; step(-1); },
      Enter: () => spec.open?.(held.line, held.at),
    };
    if (!(event.key in keys)) return;
    keys[event.key]();
    event.preventDefault();
    event.stopPropagation();
  });
}

function xDomainOf(lines) {
  let [low, high] = [Infinity, -Infinity];
  for (const line of lines) for (const x of line.x) [low, high] = [Math.min(low, x), Math.max(high, x)];
  return low <= high ? [low, high] : [0, 1];
}

// --- The widget -----------------------------------------------------------------------------

class View {
  constructor(model, root) {
    this.model = model;
    this.root = root;
    this.off = new Set(); // labels of groups that are hidden
    this.waiting = false; // for Python to draw what was chosen last
    this.pending = false;
    this.asked = new Map();
    this.ticket = 0;
    this.build();
    this.watch();
    this.showCatalogue();
    this.showPicture();
  }

  get catalogue() { return this.model.get("catalogue"); }
  get settings() { return this.model.get("settings"); }
  get picture() { return this.model.get("picture"); }

  watch() {
    const redraw = () => this.drawCharts();
    this.handlers = [
      ["change:catalogue", () => this.showCatalogue()],
      ["change:chosen", () => this.showChosen()],
      ["change:settings", () => this.showSettings()],
      ["change:picture", () => this.showPicture()],
      ["msg:custom", (answer) => this.hear(answer)],
    ];
    for (const [event, handler] of this.handlers) this.model.on(event, handler);
    this.drawnWidth = 0;
    this.sizes = new ResizeObserver(([entry]) => {
      const { width } = entry.contentRect; // 0 while Jupyter keeps the output off the page
      if (width && Math.abs(width - this.drawnWidth) >= 1) requestAnimationFrame(redraw);
    });
    this.sizes.observe(this.charts);
  }

  leave() {
    for (const [event, handler] of this.handlers) this.model.off(event, handler);
    this.sizes.disconnect();
  }

  // --- parts

  build() {
    this.title = element("h3", { class: "flip-title" });
    this.busy = element("span", { class: "flip-busy", role: "status" });
    const refresh = button("Refresh", () => this.ask({ ask: "refresh" }), { title: "Read the lab again" });
    const head = element("div", { class: "flip-top" }, this.title, this.busy, refresh);
    this.controls = element("div", { class: "flip-controls", role: "group", "aria-label": "What is drawn" });
    this.readout = element("p", { class: "flip-readout", "aria-live": "polite" });
    this.legend = element("ul", { class: "flip-legend", "aria-label": "Groups; press to hide or show" });
    this.charts = element("div", { class: "flip-charts" });
    this.notes = element("ul", { class: "flip-notes", "aria-label": "Notes" });
    const main = element("div", { class: "flip-main" }, this.legend, this.charts, this.readout, this.notes);
    this.body = element("div", { class: "flip-body" }, this.buildRuns(), main);
    this.table = this.runTable("Parameters that differ among the chosen runs");
    this.tableTitle = element("summary");
    this.forks = element("ul", { class: "flip-forks", "aria-label": "Forks among the chosen runs" });
    this.differing = element("details", { class: "flip-differing", open: true }, this.tableTitle, this.forks, this.table.node);
    this.detail = element("section", { class: "flip-detail", tabindex: -1, hidden: true });
    this.root.append(head, this.controls, this.body, this.differing, this.detail);
  }

  buildRuns() {
    this.query = element("input", {
      type: "search",
      placeholder: "Search: name, id, seed=3 …",
      "aria-label": "Search runs by name, id, or key=value",
      oninput: () => this.filter(),
    });
    this.state = element("span");
    this.count = element("span", { class: "flip-count", "aria-live": "polite" });
    const all = button("All", () => this.tickShown(true), { title: "Tick all runs in the list" });
    const none = button("None", () => this.tickShown(false), { title: "Untick all runs in the list" });
    this.runs = rowList({
      label: "Runs; space ticks, enter opens",
      columns: "22px minmax(0, 1fr) auto",
      draw: (at, row) => this.drawRun(this.shown[at], row),
      toggle: (at) => this.tick(this.shown[at]),
      open: (at) => this.openRun(this.catalogue.ids[this.shown[at]]),
    });
    const bar = element("div", { class: "flip-bar-row" }, this.state, all, none, this.count);
    return element("div", { class: "flip-side" }, this.query, bar, this.runs.node);
  }

  runTable(label, round) {
    const table = rowList({
      label,
      columns: "",
      draw: (at, row) => this.drawSetting(table, at, row),
      open: (at) => this.openRun(this.catalogue.ids[table.runs[at]], round),
    });
    return table;
  }

  // --- the list of runs

  showCatalogue() {
    const { ids, name, state, keys } = this.catalogue;
    this.hay = ids.map((id, at) => {
      const told = keys.filter((key) => key.of[at] >= 0).map((key) => `${key.name}=${key.values[key.of[at]]}`);
      return [id, name.values[name.of[at]], state.values[state.of[at]], ...told, ""].join("\n").toLowerCase();
    });
    this.state.replaceChildren(
      select([["", "any state"], ...[...state.values].sort().map((each) => [each, each])], "", () => this.filter()),
    );
    this.state.firstChild.setAttribute("aria-label", "State");
    this.buildControls();
    this.showSettings();
    this.showChosen();
  }

  showChosen() {
    this.ticked = new Set(this.model.get("chosen"));
    this.filter();
  }

  filter() {
    const { state } = this.catalogue;
    const terms = this.query.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = state.values.indexOf(this.state.firstChild.value);
    const fits = (hay, term) => hay.includes(term.includes("=") ? `${term}\n` : term);
    this.shown = this.hay
      .map((_, at) => at)
      .filter((at) => (wanted < 0 || state.of[at] === wanted) && terms.every((term) => fits(this.hay[at], term)));
    this.runs.show(this.shown.length);
    const number = this.ticked.size.toLocaleString("en");
    const listed = this.shown.length < this.hay.length ? ` · ${this.shown.length.toLocaleString("en")} listed` : "";
    this.count.textContent = `${number} of ${this.hay.length.toLocaleString("en")} chosen${listed}`;
  }

  drawRun(at, row) {
    const { ids, name, state } = this.catalogue;
    const told = state.values[state.of[at]];
    const isTicked = this.ticked.has(at);
    row.setAttribute("aria-selected", String(isTicked));
    const called = element("span", { class: "flip-run", title: ids[at] }, name.values[name.of[at]], " ");
    called.append(element("small", {}, ids[at].split("-").pop()));
    row.append(
      element("span", { class: `flip-tick${isTicked ? " flip-ticked" : ""}`, "aria-label": isTicked ? "chosen" : "not chosen" }),
      called,
      element("small", { class: `flip-state flip-is-${told}` }, told === "completed" ? "" : told),
    );
  }

  tick(at) {
    if (!this.ticked.delete(at)) this.ticked.add(at);
    this.choose();
  }

  tickShown(on) {
    for (const at of this.shown) {
      if (on) this.ticked.add(at);
      else this.ticked.delete(at);
    }
    this.choose();
  }

  choose() {
    this.filter();
    this.set({ chosen: [...this.ticked].sort((one, two) => one - two) });
  }

  // --- the controls

  buildControls() {
    const named = this.catalogue.keys.map((key) => [key.name, key.name]);
    const group = (place, none) => select([["", none], ...named], "", (value) => {
      const next = [...this.settings.by];
      next[place] = value;
      this.change({ by: place === 0 && !value ? [] : [...new Set(next.filter(Boolean))] });
    });
    this.axis = select([["round", "round"], ["seconds", "seconds"], ["bytes", "bytes"]], "", (x) => this.change({ x }));
    this.how = select([["mean", "mean and band"], ["lines", "single runs"]], "", (draw) => this.change({ draw }));
    this.by = [group(0, "nothing"), group(1, "nothing else")];
    this.second = labelled("and by", this.by[1]);
    this.log = element("input", { type: "checkbox" });
    this.log.addEventListener("change", () => { this.change({ log: this.log.checked }); this.drawCharts(); });
    this.controls.replaceChildren(
      this.metricMenu(), labelled("Against", this.axis), labelled("Group by", this.by[0]), this.second,
      labelled("Draw", this.how), this.smoothing(), element("label", { class: "flip-box" }, this.log, "log axis"),
    );
  }

  showSettings() {
    const now = this.settings;
    const { metrics } = this.catalogue;
    this.axis.value = now.x;
    this.how.value = now.draw;
    this.log.checked = now.log;
    this.by.forEach((node, place) => {
      const key = now.by[place] ?? "";
      if (![...node.options].some((each) => each.value === key)) node.append(element("option", { value: key }, key));
      node.value = key;
    });
    this.second.hidden = !now.by.length;
    if (document.activeElement !== this.slider) this.showSpan(now.span);
    const chosen = metrics.filter((each) => now.metrics.includes(each.key));
    this.menu.firstChild.textContent = chosen.map((each) => each.label).join(", ") || "none";
    metrics.forEach((each, at) => { this.boxes[at].checked = now.metrics.includes(each.key); });
  }

  metricMenu() {
    const summary = element("summary");
    this.boxes = this.catalogue.metrics.map((each) => element("input", {
      type: "checkbox",
      onchange: (event) => {
        const others = this.settings.metrics.filter((key) => key !== each.key);
        this.change({ metrics: (event.target.checked ? [...others, each.key] : others).slice(-6) });
      },
    }));
    const lines = this.catalogue.metrics.map((each, at) => (
      element("label", {}, this.boxes[at], each.label, " ", element("small", {}, counted(each.runs, "run")))
    ));
    this.menu = element("details", { class: "flip-menu" }, summary, element("div", {}, ...lines));
    this.menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.menu.open = false;
      summary.focus();
      event.stopPropagation();
    });
    this.menu.addEventListener("focusout", (event) => {
      if (event.relatedTarget && !this.menu.contains(event.relatedTarget)) this.menu.open = false;
    });
    return element("div", { class: "flip-field" }, element("span", {}, "Metrics"), this.menu);
  }

  smoothing() {
    let soon = 0;
    this.span = element("output");
    this.slider = element("input", { type: "range", min: 1, max: 50 });
    const send = () => {
      clearTimeout(soon);
      const span = Number(this.slider.value);
      if (span !== this.settings.span) this.change({ span });
    };
    this.slider.addEventListener("input", () => {
      this.showSpan(Number(this.slider.value));
      clearTimeout(soon);
      if (this.numPoints < BIG_PICTURE) soon = setTimeout(send, 120);
    });
    this.slider.addEventListener("change", send);
    this.slider.setAttribute("aria-label", "Points of the moving average");
    return labelled("Smoothing (EMA)", element("span", { class: "flip-slider" }, this.slider, this.span));
  }

  showSpan(span) {
    const words = span > 1 ? `${span} points` : "none";
    this.slider.value = String(span);
    this.slider.setAttribute("aria-valuetext", words);
    this.span.textContent = words;
  }

  change(part) { this.set({ settings: { ...this.settings, ...part } }); }

  // One wish is under way at a time: the newest of those that come meanwhile follows it.
  set(values) {
    for (const [name, value] of Object.entries(values)) this.model.set(name, value);
    if (this.waiting) { this.pending = true; return; }
    this.waiting = true;
    this.model.save_changes();
    this.ask({ ask: "draw" }, () => this.arrived());
    this.late = setTimeout(() => { this.busy.textContent = waitingFor(this.model); }, 700);
  }

  arrived() {
    clearTimeout(this.late);
    this.busy.textContent = "";
    this.waiting = false;
    if (!this.pending) return;
    this.pending = false;
    this.set({});
  }

  // --- questions to Python

  ask(question, then) {
    this.ticket += 1;
    if (then) this.asked.set(this.ticket, then);
    else this.busy.textContent = "reading …";
    this.model.send({ ...question, ticket: this.ticket });
    return this.ticket;
  }

  hear(answer) {
    if (answer.ask === "refresh") this.busy.textContent = answer.error ? `${answer.error.what} ${answer.error.fix}` : "";
    const then = this.asked.get(answer.ticket);
    this.asked.delete(answer.ticket);
    if (then) then(answer);
  }

  // --- the picture

  showPicture() {
    const { picture } = this;
    const by = picture.by ? ` by ${picture.by}` : "";
    this.title.textContent = `${counted(picture.num_runs, "run")} compared${by}`;
    this.numPoints = picture.panels.flatMap((panel) => panel.lines).reduce((sum, line) => sum + line.x.length, 0);
    this.groupOf = new Map();
    picture.groups.forEach((group, at) => group.runs.forEach((run) => this.groupOf.set(run, at)));
    this.many = picture.panels.some((panel) => panel.lines.length > MANY_LINES);
    this.legend.hidden = picture.groups.length < 2 && !picture.by;
    this.legend.replaceChildren(...picture.groups.map((group, at) => {
      const isOn = !this.off.has(group.label);
      const key = button("", () => this.toggleGroup(group.label, key), { "aria-pressed": String(isOn), title: "Hide or show" });
      const size = group.runs.length > 1 ? element("small", {}, counted(group.runs.length, "run")) : "";
      key.append(swatch(at, this.many), group.label, " ", size);
      return element("li", {}, key);
    }));
    if (picture.panels.some((panel) => panel.lines.some((line) => line.trunk))) {
      const svg = drawn("svg", { class: "flip-swatch", viewBox: "0 0 26 8", "aria-hidden": "true" });
      svg.append(drawn("path", { d: "M1 4h24", class: "flip-trunk" }));
      this.legend.prepend(element("li", { class: "flip-shared" }, svg, "shared rounds"));
    }
    this.showForks(picture.forks);
    this.notes.replaceChildren(...picture.notes.map((note) => element("li", {}, note)));
    this.tell("");
    const runs = [...this.model.get("chosen")];
    this.tableTitle.textContent = picture.differing.length
      ? `What differs: ${counted(picture.differing.length, "parameter")} of ${counted(runs.length, "run")}`
      : "What differs: nothing";
    this.showTable(this.table, runs);
    this.drawCharts();
  }

  showForks(forks) {
    const short = (run) => run.split("-").pop();
    this.forks.hidden = !forks.length;
    this.forks.replaceChildren(...forks.map((fork) => {
      const changed = fork.changed.length ? fork.changed.join(" · ") : "no setting changed";
      const open = button(short(fork.run), () => this.openRun(fork.run), { title: fork.run, class: "flip-link" });
      return element("li", {}, open, ` leaves ${short(fork.parent)} after round ${fork.round}: `, element("strong", {}, changed));
    }));
  }

  toggleGroup(label, key) {
    if (!this.off.delete(label)) this.off.add(label);
    key.setAttribute("aria-pressed", String(!this.off.has(label)));
    this.drawCharts();
  }

  drawCharts() {
    const { picture } = this;
    this.drawnWidth = this.charts.clientWidth;
    const { log } = this.settings;
    if (picture.error) {
      this.charts.replaceChildren(element("p", { class: "flip-nothing" }, picture.error));
      return;
    }
    const all = picture.panels.flatMap((panel) => panel.lines);
    const hidden = new Set();
    picture.groups.forEach((group, at) => { if (this.off.has(group.label)) hidden.add(at); });
    const figures = picture.panels.map((panel) => {
      const host = element("div", { class: "flip-host" });
      const figure = element("figure", {}, element("figcaption", {}, panel.y_title), host);
      return { panel, host, figure };
    });
    this.charts.classList.toggle("flip-several", figures.length > 1);
    this.charts.replaceChildren(...figures.map(({ figure }) => figure));
    for (const { panel, host } of figures) {
      const left = log ? panel.lines.reduce((sum, line) => sum + line.y.filter((y) => y !== null && y <= 0).length, 0) : 0;
      if (left) host.before(element("p", { class: "flip-cut" }, `${counted(left, "value")} of 0 or less cannot be shown on a log axis`));
      drawChart(host, {
        label: `${panel.y_title} against ${picture.x_title}. Arrow keys move along and between lines, enter opens.`,
        xTitle: picture.x_title,
        lines: panel.lines,
        hidden,
        isLog: log,
        height: figures.length > 1 ? 230 : 300,
        xDomain: xDomainOf(all),
        describe: (line, at) => this.describe(panel, line, at),
        tell: (text) => this.tell(text),
        open: (line, at) => this.openLine(line, at),
      });
    }
  }

  tell(text) {
    this.readout.textContent = text || "Point at a line, or walk along it with the arrow keys; click or press enter for more.";
    this.readout.classList.toggle("flip-hint", !text);
  }

  called(line) {
    if (line.trunk) return "shared rounds";
    const group = this.picture.groups[line.group].label;
    if (!line.run) return group;
    const { ids, name } = this.catalogue;
    const at = ids.indexOf(line.run);
    const own = at < 0 ? line.run : `${name.values[name.of[at]]} ${line.run.split("-").pop()}`;
    return own === group || !this.picture.by ? own : `${own} (${group})`;
  }

  roundOf(line, at) { return line.round ? line.round[at] : line.x[at]; }

  describe(panel, line, at) {
    const place = `round ${this.roundOf(line, at)}${line.round ? `, ${numberText(line.x[at])} ${this.unit()}` : ""}`;
    const value = line.odd?.[at] ?? numberText(line.y[at]);
    const parts = [`${this.called(line)} · ${place} · ${panel.label} ${value}`];
    if (line.low && line.low[at] !== null) parts.push(`95 % band ${numberText(line.low[at])} to ${numberText(line.high[at])}`);
    if (line.seeds) parts.push(counted(line.seeds[at], "run"));
    if (line.lost?.[at]) parts.push(`${line.lost[at]} diverged`);
    return parts.join(" · ");
  }

  unit() { return /\(([^)]*)\)/.exec(this.picture.x_title)?.[1] ?? ""; }

  // --- what differs

  showTable(table, runs) {
    const keys = this.picture.differing.map((name) => this.catalogue.keys.find((key) => key.name === name)).filter(Boolean);
    table.runs = runs;
    table.keys = keys;
    table.usual = keys.map((key) => {
      const counts = new Map();
      for (const run of runs) counts.set(key.of[run], (counts.get(key.of[run]) ?? 0) + 1);
      const [[value, count] = [-2, 0]] = [...counts].sort((one, two) => two[1] - one[1]);
      return count * 2 > runs.length ? value : null;
    });
    const width = (key) => {
      const longest = key.values.reduce((most, value) => Math.max(most, value.length), 0);
      return `${Math.min(Math.max(key.name.length, longest, 6), 24) * 7.4 + 16}px`;
    };
    const headers = ["run", ...keys.map((key) => key.name)].map((name) => element("span", { title: name }, name));
    table.show(runs.length, { headers, columns: `minmax(150px, 1fr) ${keys.map(width).join(" ")}` });
  }

  drawSetting(table, at, row) {
    const run = table.runs[at];
    const { ids, name } = this.catalogue;
    const first = element("span", { class: "flip-run", title: ids[run] });
    if (this.picture.by && this.groupOf.has(run)) first.append(swatch(this.groupOf.get(run), this.many), " ");
    first.append(name.values[name.of[run]], " ", element("small", {}, ids[run].split("-").pop()));
    row.append(first);
    table.keys.forEach((key, place) => {
      const value = key.of[run];
      const isOdd = table.usual[place] !== null && value !== table.usual[place];
      const cell = element("span", { class: value < 0 ? "flip-unset" : isOdd ? "flip-odd" : "" });
      cell.textContent = value < 0 ? "not set" : key.values[value];
      cell.title = cell.textContent;
      row.append(cell);
    });
  }

  // --- details: a group, a run, a client

  openDetail(title, ...children) {
    const close = button("Close", () => { this.detail.hidden = true; this.runs.node.focus(); });
    const head = element("div", { class: "flip-top" }, element("h4", {}, title), close);
    this.detail.replaceChildren(head, ...children);
    this.detail.hidden = false;
    this.detail.setAttribute("aria-label", title);
    this.detail.focus({ preventScroll: true });
    this.detail.scrollIntoView({ block: "nearest" });
  }

  openLine(line, at) {
    const round = Math.round(this.roundOf(line, at));
    if (line.run) this.openRun(line.run, round);
    else this.openGroup(line.group, round);
  }

  openGroup(at, round) {
    const group = this.picture.groups[at];
    if (group.runs.length === 1) { this.openRun(this.catalogue.ids[group.runs[0]], round); return; }
    const table = this.runTable(`Runs of ${group.label}`, round);
    this.openDetail(`${group.label}: ${counted(group.runs.length, "run")}`, table.node);
    this.showTable(table, group.runs);
  }

  openRun(run, round) {
    this.openDetail(run, element("p", { class: "flip-nothing" }, "Reading …"));
    const ticket = this.ask({ ask: "run", run, ...(round === undefined ? {} : { round }) }, (told) => {
      if (ticket === this.detailTicket) this.showRun(run, told);
    });
    this.detailTicket = ticket;
  }

  showRun(run, told) {
    if (told.error) { this.openDetail(run, refusal(told.error)); return; }
    const rounds = told.num_rounds === null ? told.rounds_done : `${told.rounds_done} / ${told.num_rounds}`;
    const facts = [
      ["state", told.state], ["rounds", rounds], ["nodes", told.num_nodes], ["engine", told.engine], ["seed", told.seed],
      ["experiment", told.experiment], ["sweep", told.sweep], ["tags", (told.tags ?? []).join(", ")],
      ["launched", new Date(told.created_s * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })],
      ["took", told.duration_s === null ? "" : durationText(told.duration_s)], ["note", told.note],
    ];
    const list = element("dl", { class: "flip-facts" });
    for (const [name, value] of facts) {
      if (value === null || value === undefined || value === "") continue;
      list.append(element("div", {}, element("dt", {}, name), element("dd", {}, String(value))));
    }
    const begun = told.states.length ? told.states[0].time_s : 0;
    const story = told.states.map((each) => `${each.state} ${each.time_s > begun ? `after ${durationText(each.time_s - begun)}` : ""}`.trim());
    const parts = [list, element("p", { class: "flip-story" }, story.join(" → "))];
    if (told.error_code) parts.push(refusal({ code: told.error_code, what: told.error_text, fix: "" }));
    parts.push(this.settingsList(told.settings), this.clientPart(run, told));
    this.openDetail(`${told.name} · ${run}`, ...parts);
    this.showClients(told.clients);
  }

  settingsList(settings) {
    const list = element("dl", { class: "flip-facts flip-settings" });
    for (const each of settings) {
      const shared = each.others ? `like ${each.same} of ${counted(each.others, "other")}` : "";
      const value = element("dd", {}, each.value ?? "not set", " ", element("small", {}, shared));
      list.append(element("div", {}, element("dt", {}, each.name), value));
    }
    return list;
  }

  clientPart(run, told) {
    this.run = run;
    this.clients = null;
    if (told.last_round === null) return element("p", { class: "flip-nothing" }, "No client took part in this run.");
    const number = element("input", { type: "number", min: 0, max: told.last_round, value: told.round, "aria-label": "Round" });
    let ticket = 0;
    const read = () => {
      ticket = this.ask({ ask: "round", run, round: Number(number.value) }, (answer) => {
        if (answer.ticket === ticket && !answer.error) this.showClients(answer.clients);
      });
    };
    const move = (by) => {
      number.value = String(Math.min(Math.max(Number(number.value) + by, 0), told.last_round));
      read();
    };
    number.addEventListener("change", read);
    this.clients = rowList({
      label: "Clients of the round; enter shows one over all rounds",
      columns: "",
      draw: (at, row) => this.drawClient(this.sorted[at], row),
      open: (at) => this.openClient(this.sorted[at].id),
    });
    this.clientCount = element("span", { class: "flip-count", "aria-live": "polite" });
    this.clientHost = element("div", { class: "flip-client" });
    this.order = { column: "id", up: true };
    const bar = element(
      "div", { class: "flip-bar-row" }, element("strong", {}, "Clients of round"),
      button("‹", () => move(-1), { "aria-label": "Round before" }), number,
      button("›", () => move(1), { "aria-label": "Next round" }), `of ${told.last_round}`, this.clientCount,
    );
    return element("div", {}, bar, this.clients.node, this.clientHost);
  }

  showClients(table) {
    if (!this.clients) return;
    this.told = table;
    const cut = table.num_replies > table.num_listed ? `, the first ${table.num_listed.toLocaleString("en")} of ${table.num_replies.toLocaleString("en")} replies` : "";
    this.clientCount.textContent = table.rows.length ? counted(table.rows.length, "client") + cut : "no client took part";
    this.sortClients();
  }

  sortClients() {
    const { column, up } = this.order;
    const value = (row) => {
      if (column === "id") return Number(row.id.slice(1));
      return typeof column === "string" ? row[column] : row.values[column];
    };
    const lost = (row) => value(row) === null; // missing and diverged ones come last, either way
    this.sorted = [...this.told.rows].sort((one, two) => lost(one) - lost(two) || (up ? 1 : -1) * (value(one) - value(two)));
    const columns = [
      ["id", "client"], ...this.told.columns.map((each, at) => [at, each.label]),
      ["examples", "examples"], ["seconds", "seconds"], ["error", "error"],
    ];
    const headers = columns.map(([key, label]) => {
      const isOn = key === column;
      const click = () => { this.order = { column: key, up: isOn ? !up : true }; this.sortClients(); };
      const cell = element("span", { class: key === "id" ? "" : "flip-number", "aria-sort": isOn ? (up ? "ascending" : "descending") : "none" });
      cell.append(button(`${label}${isOn ? (up ? " ▲" : " ▼") : ""}`, click, { title: `Sort by ${label}` }));
      return cell;
    });
    const widths = this.told.columns.map((each) => `${Math.max(each.label.length * 7.6 + 26, 90)}px`).join(" ");
    const sorting = this.clients.node.contains(document.activeElement) && document.activeElement !== this.clients.node;
    this.clients.show(this.sorted.length, { headers, columns: `minmax(80px, 1fr) ${widths} 90px 90px 76px` });
    if (sorting) headers[columns.findIndex(([key]) => key === column)].firstChild.focus();
  }

  drawClient(client, row) {
    const cells = client.values.map((value, at) => {
      const odd = client.odd[at];
      return element("span", { class: odd ? "flip-number flip-failed" : "flip-number" }, odd ?? numberText(value));
    });
    row.append(
      element("span", {}, clientName(client.id)), ...cells,
      element("span", { class: "flip-number" }, numberText(client.examples)),
      element("span", { class: "flip-number" }, numberText(client.seconds)),
      element("span", { class: client.error ? "flip-number flip-failed" : "flip-number" }, client.error ? String(client.error) : "–"),
    );
  }

  openClient(client, metric) {
    const { columns } = this.told;
    if (!columns.length) return;
    const drawnNow = this.picture.panels.map((panel) => panel.metric.split("/")).map(([phase, , ...name]) => `${phase}/${name.join("/")}`);
    const wanted = metric ?? columns.find((each) => drawnNow.includes(each.key))?.key ?? columns[0].key;
    const label = columns.find((each) => each.key === wanted).label;
    const ticket = this.ask({ ask: "client", run: this.run, client, metric: wanted }, (told) => {
      if (ticket !== this.clientTicket) return;
      const pick = select(columns.map((each) => [each.key, each.label]), wanted, (next) => this.openClient(client, next));
      pick.setAttribute("aria-label", "Metric of the client");
      const words = element("p", { class: "flip-readout", "aria-live": "polite" });
      const host = element("div", { class: "flip-host" });
      const bar = element("div", { class: "flip-bar-row" }, element("strong", {}, clientName(client)), pick,
        swatch(1, false), "this client", swatch(0, false), "the cohort's median, and 10 % to 90 % of it");
      this.clientHost.replaceChildren(bar, host, words);
      if (told.error) { host.append(refusal(told.error)); return; }
      const cohort = { group: 0, x: told.round, y: told.middle, low: told.low, high: told.high };
      const own = { group: 1, x: told.round, y: told.y, odd: told.odd };
      drawChart(host, {
        label: `${label} of ${clientName(client)} over the rounds, and its cohort`,
        xTitle: "round",
        lines: [own, cohort],
        hidden: new Set(),
        isLog: false,
        height: 210,
        xDomain: xDomainOf([cohort]),
        describe: (line, at) => {
          const value = line.odd?.[at] ?? numberText(line.y[at]);
          if (line === own) return `${clientName(client)} · round ${line.x[at]} · ${label} ${value}`;
          return `cohort of ${told.clients[at]} · round ${line.x[at]} · median ${value} · ${numberText(line.low[at])} to ${numberText(line.high[at])}`;
        },
        tell: (text) => { words.textContent = text; },
      });
      host.scrollIntoView({ block: "nearest" });
    });
    this.clientTicket = ticket;
  }
}

function clientName(id) {
  return id.startsWith("p") ? `client ${id.slice(1)}` : `node ${id.slice(1)}`;
}

export default { render: shownBy(View, "comparer", "Compare runs") };
