
// --- Small line charts ----------------------------------------------------------------------

const HEIGHTS = { least: 104, most: 200, share: 0.36 }; // of the width, in a panel of its own
const MARGIN = { left: 40, right: 10, top: 12, bottom: 18 };
const SIGNS = { // at the top of a mark's line: a triangle, two bars, a diamond
  edit: "M-4 -9h8l-4 6z",
  pause: "M-3.5 -10v7h2.5v-7zM1 -10v7h2.5v-7z",
  break: "M0 -11l4.5 4.5l-4.5 4.5l-4.5 -4.5z",
};

// Draws [x, value] pairs (diverged values are null) and marks; told by pointer and arrow keys.
class LineChart {
  constructor({ label, xText }) {
    this.label = label;
    this.xText = xText;
    this.height = HEIGHTS.least;
    this.points = [];
    this.marks = [];
    this.rest = "";
    this.width = 0;
    this.held = null;
    const about = { class: "flip-chart", role: "application", tabindex: 0, "aria-roledescription": "chart" };
    this.node = drawn("svg", about);
    this.words = element("p", { class: "flip-best" });
    this.listen();
  }

  // `rest`: what the line below says while nobody points.
  show({ points, marks = [], rest = "", summary = "" }, width) {
    const key = JSON.stringify([points, marks, rest, width]);
    if (key === this.key) return;
    Object.assign(this, { key, points, marks, rest, width });
    this.node.setAttribute("aria-label", `${this.label}. ${summary} Arrow keys walk along it.`);
    this.draw();
    if (this.held !== null) this.hold(Math.min(this.held, points.length - 1));
    else say(this.words, rest);
  }

  scale() {
    const values = this.points.map(([, value]) => value).filter((value) => value !== null);
    let [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
    const over = high / 2 - low / 2; // halved, so that the largest doubles do not overflow
    const room = over > 0 && Number.isFinite(over * 0.16) ? over * 0.16 : Math.abs(high) * 0.1 || 1;
    if (Number.isFinite(high + room) && Number.isFinite(low - room)) [low, high] = [low - room, high + room];
    const xs = this.points.map(([x]) => x);
    const [first, newest] = xs.length ? [xs[0], xs[xs.length - 1]] : [0, 1];
    const soon = this.marks.map(({ round }) => round).filter((round) => round <= newest + 1);
    const last = Math.max(newest, ...soon); // room for what was done in the round under way
    const [left, right] = [MARGIN.left, Math.max(this.width - MARGIN.right, MARGIN.left + 1)];
    const [top, bottom] = [MARGIN.top, this.height - MARGIN.bottom];
    return {
      low, high, first, last, left, right, top, bottom,
      px: (x) => (last > first ? left + ((x - first) / (last - first)) * (right - left) : (left + right) / 2),
      py: (y) => bottom - ((y / 2 - low / 2) / (high / 2 - low / 2)) * (bottom - top),
    };
  }

  draw() {
    this.height = Math.round(Math.min(Math.max(this.width * HEIGHTS.share, HEIGHTS.least), HEIGHTS.most));
    const at = this.scale();
    this.at = at;
    this.node.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.node.setAttribute("width", String(this.width));
    this.node.setAttribute("height", String(this.height));
    const parts = [this.axes(at), ...this.markLines(at)];
    const { line, crosses, dot } = this.paths(at);
    parts.push(drawn("path", { class: "flip-line-path", d: line }));
    if (crosses) parts.push(drawn("path", { class: "flip-cross", d: crosses }));
    parts.push(drawn("path", { class: "flip-dot", d: dot }));
    this.hair = drawn("path", { class: "flip-hair", d: "" });
    this.spot = drawn("circle", { class: "flip-spot", r: 4, visibility: "hidden" });
    this.node.replaceChildren(...parts, this.hair, this.spot);
  }

  axes({ low, high, first, last, left, right, top, bottom, px, py }) {
    const group = drawn("g", { "aria-hidden": "true" });
    const write = (text, x, y, anchor) => {
      const node = drawn("text", { x, y, "text-anchor": anchor, class: "flip-tick-text" });
      node.textContent = text;
      group.append(node);
    };
    for (const y of Number.isFinite(high - low) ? ticks(low, high, 4) : []) {
      group.append(drawn("path", { class: "flip-grid", d: `M${left} ${py(y).toFixed(1)}H${right}` }));
      write(numberText(y), left - 5, (py(y) + 3.5).toFixed(1), "end");
    }
    group.append(drawn("path", { class: "flip-axis", d: `M${left} ${bottom}H${right}` }));
    const most = Math.max(1, Math.floor((right - left) / 45));
    const places = last > first ? ticks(first, last, most).filter(Number.isInteger) : [first];
    if (this.points.length) for (const x of places) write(this.xText(x, true), px(x).toFixed(1), bottom + 13, "middle");
    return group;
  }

  markLines({ first, last, top, bottom, px }) {
    return this.marks.filter((mark) => mark.round >= first && mark.round <= last).map((mark) => {
      const x = px(mark.round).toFixed(1);
      const group = drawn("g", { class: `flip-mark flip-mark-${mark.kind}` });
      const title = drawn("title", {});
      title.textContent = `round ${mark.round}: ${mark.words}`;
      group.append(title, drawn("path", { class: "flip-mark-line", d: `M${x} ${top - 3}V${bottom}` }));
      group.append(drawn("path", { class: "flip-sign", d: SIGNS[mark.kind] ?? SIGNS.edit, transform: `translate(${x} ${top})` }));
      return group;
    });
  }

  paths({ px, py, bottom }) {
    let [line, crosses, dot, pen] = ["", "", "", "M"];
    for (const [x, y] of this.points) {
      if (y === null) {
        crosses += `M${(px(x) - 3.5).toFixed(1)} ${bottom - 9}l7 7m0 -7l-7 7`;
        pen = "M";
      } else {
        line += `${pen}${px(x).toFixed(1)} ${py(y).toFixed(1)}`;
        dot = `M${px(x).toFixed(1)} ${py(y).toFixed(1)}h0`;
        pen = "L";
      }
    }
    return { line, crosses, dot };
  }

  // --- told by pointer and keys

  hold(at) {
    if (at < 0 || at >= this.points.length) return;
    this.held = at;
    const [x, y] = this.points[at];
    const height = y === null ? this.at.bottom - 5 : this.at.py(y);
    this.hair.setAttribute("d", `M${this.at.px(x).toFixed(1)} ${this.at.top}V${this.at.bottom}`);
    this.spot.setAttribute("cx", this.at.px(x).toFixed(1));
    this.spot.setAttribute("cy", height.toFixed(1));
    this.spot.setAttribute("visibility", "visible");
    const before = at ? this.points[at - 1][0] : -Infinity;
    const done = this.marks.filter((mark) => mark.round > before && mark.round <= x).map((mark) => mark.words);
    say(this.words, [this.xText(x, false), y === null ? "diverged" : numberText(y), ...done].join(" · "));
  }

  release() {
    this.held = null;
    this.hair?.setAttribute("d", "");
    this.spot?.setAttribute("visibility", "hidden");
    say(this.words, this.rest);
  }

  listen() {
    this.node.addEventListener("pointermove", (event) => {
      if (!this.points.length) return;
      const x = event.clientX - this.node.getBoundingClientRect().left;
      const far = this.points.map(([place]) => Math.abs(this.at.px(place) - x));
      this.hold(far.indexOf(Math.min(...far)));
    });
    this.node.addEventListener("pointerleave", () => { if (document.activeElement !== this.node) this.release(); });
    this.node.addEventListener("focus", () => {
      this.words.setAttribute("aria-live", "polite");
      if (this.held === null) this.hold(this.points.length - 1);
    });
    this.node.addEventListener("blur", () => { this.words.removeAttribute("aria-live"); this.release(); });
    this.node.addEventListener("keydown", (event) => {
      const last = this.points.length - 1;
      const moves = { ArrowRight: this.held + 1, ArrowLeft: this.held - 1, Home: 0, End: last };
      if (!(event.key in moves)) return;
      this.hold(Math.max(0, Math.min(last, moves[event.key])));
      event.preventDefault();
    });
  }
}

// Many metrics as small multiples: a figure stays the same element for as long as its metric is there.
class ChartGrid {
  constructor(xText) {
    this.xText = xText;
    this.node = element("div", { class: "flip-tiles" });
    this.tiles = new Map();
    this.sizes = new ResizeObserver(() => requestAnimationFrame(() => this.draw()));
    this.sizes.observe(this.node);
  }

  leave() { this.sizes.disconnect(); }

  show(curves, marks) {
    this.curves = curves;
    this.marks = marks;
    const keys = curves.map((curve) => curve.key);
    if (keys.join("\n") !== [...this.tiles.keys()].join("\n")) {
      const old = this.tiles;
      this.tiles = new Map(curves.map((curve) => [curve.key, old.get(curve.key) ?? this.tile(curve)]));
      this.node.replaceChildren(...[...this.tiles.values()].map((tile) => tile.node));
    }
    this.draw();
  }

  tile(curve) {
    const chart = new LineChart({ label: curve.label, xText: this.xText });
    const value = element("span", { class: "flip-value" });
    const name = element("span", { class: "flip-metric", title: curve.title }, curve.label);
    const head = element("figcaption", {}, name, value);
    const node = element("figure", { class: "flip-tile" }, head, chart.node, chart.words);
    return { node, chart, value };
  }

  draw() {
    for (const curve of this.curves ?? []) {
      const { node, chart, value } = this.tiles.get(curve.key);
      for (const scope of ["central", "server"]) node.classList.toggle(`flip-${scope}`, curve.scope === scope);
      node.classList.toggle("flip-diverged", curve.diverged);
      say(value, curve.value);
      const width = node.clientWidth - 16; // 0 while Jupyter keeps the output off the page
      if (width <= 0) continue;
      const summary = `Now ${curve.value}${curve.rest ? `, ${curve.rest}` : ""}.`;
      chart.show({ points: curve.points, marks: this.marks, rest: curve.rest, summary }, width);
    }
  }
}
