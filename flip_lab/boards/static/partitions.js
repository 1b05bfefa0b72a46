// The partition explorer: shows the picture that Python draws
// (flip_lab/boards/partitions/picture.py) and tells Python what is chosen.

const SHARES = [50, 150, 350, 650]; // per mille above which the next darker shade begins
const SHADES = SHARES.length + 1;
const STRIP_PX = 52; // height of the bars above and below the map
const GAP_PX = 8;
const WIDEST_PX = 84; // a column; five nodes need no whole page
const WIDEST_NAMED_PX = 112; // a column whose node has a name
const SOON_MS = 100;
const MATRIX_PX = 380;
const ORDERS = {
  auto: "automatic", number: "number", label: "main label", size: "size", distance: "distance to the whole",
};

// --- Numbers --------------------------------------------------------------------------------

function percent(perMille) {
  if (!perMille) return "0 %";
  return perMille < 10 ? `${perMille / 10} %` : `${Math.round(perMille / 10)} %`;
}

export function shadeOf(perMille) {
  return perMille ? SHARES.filter((edge) => perMille > edge).length + 1 : 0;
}

// Where a slider of 0 to 1000 stands for a value, and back. From 0 upwards nothing is logarithmic.
export function place(value, { low, high, log }) {
  const share = log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
  return Math.round(1000 * Math.min(Math.max(share, 0), 1));
}

export function valueAt(at, { low, high, log, whole }) {
  const value = log ? low * (high / low) ** (at / 1000) : low + ((high - low) * at) / 1000;
  return whole ? Math.round(value) : Number(value.toPrecision(2));
}

// --- A slider with a box beside it ------------------------------------------------------------

// `spec`: label, low, high, log, whole, value, optional, help, isLive(value), set(value).
function slider(spec) {
  const range = element("input", { type: "range", min: 0, max: 1000, "aria-label": spec.label });
  const box = element("input", {
    type: "number", "aria-label": `${spec.label}, exactly`, step: spec.whole ? 1 : "any", placeholder: spec.optional ? "none" : "",
  });
  let [soon, now] = [0, null];
  const show = (value, keep) => {
    now = value;
    if (keep !== box) box.value = value === null ? "" : String(value);
    if (keep !== range) range.value = String(value === null ? 0 : place(value, spec));
    range.setAttribute("aria-valuetext", value === null ? "not set" : String(value));
  };
  const send = () => { clearTimeout(soon); spec.set(now); };
  range.addEventListener("input", () => {
    show(valueAt(Number(range.value), spec), range);
    clearTimeout(soon);
    if (spec.isLive(now)) soon = setTimeout(send, SOON_MS);
  });
  range.addEventListener("change", send);
  box.addEventListener("change", () => {
    const value = box.value === "" ? null : Number(box.value);
    if (value === null && !spec.optional) { show(now); return; }
    show(value, box);
    send();
  });
  show(spec.value);
  const both = element("span", { class: "flip-slider", role: "group", "aria-label": spec.label }, range, box);
  return {
    node: labelled(spec.label, both, spec.help),
    show: (value) => { if (document.activeElement !== range && document.activeElement !== box) show(value); },
  };
}

// --- Walking over a picture with pointer or keys ------------------------------------------------

// `spec`: columns, rows, at(x, y) -> [column, row] or null, tell(column, row), leave().
function walk(svg, spec) {
  let spot = null;
  const go = (column, row) => {
    spot = [Math.min(Math.max(column, 0), spec.columns - 1), Math.min(Math.max(row, 0), spec.rows - 1)];
    spec.tell(...spot);
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const found = spec.at(event.clientX - box.left, event.clientY - box.top);
    if (found) go(...found);
  });
  svg.addEventListener("pointerleave", () => { if (document.activeElement !== svg) { spot = null; spec.leave(); } });
  svg.addEventListener("blur", () => { spot = null; spec.leave(); });
  svg.addEventListener("focus", () => { if (!spot) go(0, 0); });
  svg.addEventListener("keydown", (event) => {
    const [column, row] = spot ?? [0, 0];
    const page = Math.max(1, Math.round(spec.columns / 10));
    const moves = {
      ArrowRight: [column + 1, row], ArrowLeft: [column - 1, row], ArrowDown: [column, row + 1], ArrowUp: [column, row - 1],
      PageDown: [column + page, row], PageUp: [column - page, row], Home: [0, row], End: [spec.columns - 1, row],
    };
    if (!(event.key in moves)) return;
    go(...moves[event.key]);
    event.preventDefault();
    event.stopPropagation();
  });
}

// One path for all cells of a shade: the theme colours it, and ten thousand cells are five elements.
function shades(count, shadeAt, boxAt) {
  const paths = new Array(SHADES + 1).fill("");
  for (let at = 0; at < count; at += 1) {
    const shade = shadeAt(at);
    if (!shade) continue;
    const [x, y, width, height] = boxAt(at);
    paths[shade] += `M${x.toFixed(2)} ${y.toFixed(2)}h${width.toFixed(2)}v${height.toFixed(2)}h${(-width).toFixed(2)}z`;
  }
  return paths.map((d, shade) => (d ? drawn("path", { d, class: `flip-shade-${shade}` }) : null)).filter(Boolean);
}

// --- The widget -----------------------------------------------------------------------------

class View {
  constructor(model, root) {
    this.model = model;
    this.root = root;
    this.waiting = false; // for Python to draw what was chosen last
    this.pending = false;
    this.ticket = 0;
    this.build();
    this.watch();
    this.buildControls();
    this.showPicture();
  }

  get catalogue() { return this.model.get("catalogue"); }
  get settings() { return this.model.get("settings"); }
  get picture() { return this.model.get("picture"); }

  watch() {
    this.handlers = [
      ["change:settings", () => this.showSettings()],
      ["change:picture", () => this.showPicture()],
      ["msg:custom", (answer) => { if (answer.ticket === this.ticket) this.arrived(); }],
    ];
    for (const [event, handler] of this.handlers) this.model.on(event, handler);
    this.drawnWidth = 0;
    this.sizes = new ResizeObserver(([entry]) => {
      const { width } = entry.contentRect; // 0 while Jupyter keeps the output off the page
      if (width && Math.abs(width - this.drawnWidth) >= 1) requestAnimationFrame(() => this.drawAll());
    });
    this.sizes.observe(this.host);
  }

  leave() {
    for (const [event, handler] of this.handlers) this.model.off(event, handler);
    this.sizes.disconnect();
    clearTimeout(this.late);
  }

  build() {
    this.title = element("h3", { class: "flip-title" });
    this.busy = element("span", { class: "flip-busy", role: "status" });
    const reset = button("Back to the scenario", () => this.change(this.catalogue.start), { title: `As ${this.catalogue.scenario} has it` });
    this.controls = element("div", { class: "flip-controls", role: "group", "aria-label": "How data lies on nodes" });
    this.error = element("div", { class: "flip-failure", role: "alert", hidden: true });
    this.facts = element("dl", { class: "flip-facts" });
    this.host = element("div", { class: "flip-host" });
    this.readout = element("p", { class: "flip-readout", "aria-live": "polite" });
    this.notes = element("ul", { class: "flip-notes", "aria-label": "Notes" });
    this.key = element("p", { class: "flip-key" });
    this.matrix = element("figure", { class: "flip-matrix" });
    this.worst = element("table", { class: "flip-worst" });
    this.lower = element("div", { class: "flip-lower" }, this.matrix, this.worst);
    this.shown = element("div", { class: "flip-shown" }, this.facts, this.host, this.key, this.readout, this.notes, this.lower);
    this.code = element("pre", { tabindex: 0, "aria-label": "The same in Python" });
    const copy = copyOf(this.code, { title: "Copy the Python to the clipboard" });
    this.root.append(
      element("div", { class: "flip-top" }, this.title, this.busy, reset), this.controls, this.error, this.shown,
      element("div", { class: "flip-python" }, element("span", {}, "The same in Python"), copy, this.code),
    );
  }

  // --- the controls

  buildControls() {
    const { catalogue, settings, picture } = this;
    const names = (list) => list.map((each) => [each, each]);
    this.dataset = select(names(catalogue.datasets), settings.dataset, (dataset) => this.change({ dataset }));
    this.partitioner = select(names(Object.keys(catalogue.partitioners)), settings.partitioner, (partitioner) => {
      const own = partitioner === catalogue.start.partitioner;
      this.change({ partitioner, options: own ? catalogue.start.options : {} });
    });
    this.order = select(catalogue.orders.map((each) => [each, ORDERS[each]]), settings.order, (order) => this.change({ order }));
    this.distance = select(picture.distances, settings.distance, (distance) => this.change({ distance }));
    this.seed = element("input", { type: "number", min: 0, step: 1, onchange: () => this.change({ seed: Number(this.seed.value) }) });
    const dice = button("Another", () => this.change({ seed: this.settings.seed + 1 }), { title: "The next seed" });
    this.nodes = slider({
      label: "Nodes", low: 1, high: this.reach(), log: true, whole: true, value: settings.num_partitions,
      isLive: (value) => this.isLive(value), set: (value) => this.change({ num_partitions: value }),
    });
    this.built = this.builtFor();
    this.options = catalogue.partitioners[settings.partitioner].map((field) => this.optionControl(field));
    this.controls.replaceChildren(
      labelled("Data set", this.dataset), labelled("Partitioner", this.partitioner), this.nodes.node,
      ...this.options.map((each) => each.node),
      labelled("Seed", element("span", { class: "flip-slider", role: "group", "aria-label": "Seed" }, this.seed, dice)),
      labelled("Order of nodes", this.order), labelled("Distance", this.distance),
    );
    this.seed.setAttribute("aria-label", "Seed");
    this.showSettings();
  }

  // The slider reaches at least to where it stands, also while that cannot be split.
  reach() { return Math.max(this.picture.most_nodes, this.settings.num_partitions, 2); }

  // What the controls themselves depend on.
  builtFor() {
    const { distances, num_labels: labels } = this.picture;
    return JSON.stringify([this.settings.partitioner, this.reach(), labels, distances]);
  }

  isLive(nodes) { return nodes <= this.catalogue.live_nodes; }

  optionControl(field) {
    const label = field.name.replaceAll("_", " ");
    const help = `${field.help} ${field.allowed}`.trim();
    const now = () => this.settings.options[field.name] ?? field.default;
    const set = (value) => {
      const { [field.name]: _, ...others } = this.settings.options;
      this.change({ options: value === null ? others : { ...others, [field.name]: value } });
    };
    if (field.kind === "whole" || field.kind === "number") {
      const whole = field.kind === "whole";
      const high = field.name.startsWith("classes_") ? this.picture.num_labels : field.high;
      const isLive = () => this.isLive(this.settings.num_partitions);
      const control = slider({ label, low: field.low, high, log: !whole, whole, value: now(), optional: field.optional, help, isLive, set });
      return { node: control.node, show: () => control.show(now()) };
    }
    if (field.kind === "switch") {
      const box = element("input", { type: "checkbox", onchange: () => set(box.checked) });
      const node = element("label", { class: "flip-box", title: help }, box, label);
      return { node, show: () => { box.checked = now(); } };
    }
    const choices = field.choices.map((each) => [each, each]);
    const control = choices.length ? select(choices, now(), set) : element("input", { type: "text", onchange: () => set(control.value) });
    return { node: labelled(label, control, help), show: () => { control.value = now() ?? ""; } };
  }

  showSettings() {
    if (this.built !== this.builtFor()) {
      const focused = this.root.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
      this.buildControls();
      if (focused) [...this.controls.querySelectorAll("[aria-label]")].find((each) => each.tabIndex >= 0 && each.getAttribute("aria-label") === focused)?.focus();
      return;
    }
    const now = this.settings;
    this.dataset.value = now.dataset;
    this.partitioner.value = now.partitioner;
    this.order.value = now.order;
    this.distance.value = this.picture.distance;
    if (document.activeElement !== this.seed) this.seed.value = String(now.seed);
    this.nodes.show(now.num_partitions);
    for (const each of this.options) each.show();
  }

  // One wish is under way at a time: the newest of those that come meanwhile follows it.
  change(part) {
    this.model.set("settings", { ...this.settings, ...part });
    if (this.waiting) { this.pending = true; return; }
    this.waiting = true;
    this.ticket += 1;
    this.model.save_changes();
    this.model.send({ ask: "draw", ticket: this.ticket });
    this.late = setTimeout(() => { this.busy.textContent = "splitting …"; }, 500);
  }

  arrived() {
    clearTimeout(this.late);
    this.busy.textContent = "";
    this.waiting = false;
    if (!this.pending) return;
    this.pending = false;
    this.change({});
  }

  // --- the picture

  showPicture() {
    const { picture } = this;
    this.title.textContent = picture.title;
    this.error.hidden = !picture.error;
    this.shown.classList.toggle("flip-stale", Boolean(picture.error));
    if (picture.error) {
      const { code, what, fix } = picture.error;
      this.error.replaceChildren(element("strong", {}, code), ` ${what} ${fix}`, element("small", {}, " Below is the last split that could be made."));
    }
    this.facts.replaceChildren(...picture.facts.map(([name, told]) => (
      element("div", {}, element("dt", {}, name), element("dd", {}, told))
    )));
    this.notes.replaceChildren(...picture.notes.map((note) => element("li", {}, note)));
    this.code.textContent = picture.python;
    this.showWorst();
    this.showSettings();
    this.drawAll();
  }

  showWorst() {
    const { worst, distance_words: words } = this.picture;
    const cell = (text, name) => element("td", name ? { class: name } : {}, text);
    const head = ["node", "distance", "examples", "holds"].map((name) => element("th", { scope: "col", title: name === "distance" ? words : null }, name));
    this.worst.replaceChildren(
      element("caption", {}, "Least like the whole"), element("thead", {}, element("tr", {}, ...head)),
      element("tbody", {}, ...worst.map((each) => element(
        "tr", {}, element("th", { scope: "row" }, each.node), cell(each.distance.toFixed(2), "flip-number"),
        cell(each.num_examples.toLocaleString("en"), "flip-number"), cell(each.holds),
      ))),
    );
  }

  drawAll() {
    this.drawnWidth = this.host.clientWidth;
    this.drawMap();
    this.drawMatrix();
    this.tell("");
  }

  tell(text) {
    this.readout.textContent = text || "Point at a cell, or walk with the arrow keys.";
    this.readout.classList.toggle("flip-hint", !text);
  }

  called(at) {
    const { columns, nodes } = this.picture;
    const many = columns.num_nodes[at];
    return many === 1 ? nodes[at] : `${counted(many, "node")} from ${nodes[at]} on`;
  }

  drawMap() {
    const { picture } = this;
    const { columns, labels, whole } = picture;
    const count = columns.node.length;
    const longest = Math.min(Math.max(...labels.map((label) => label.length), 4), 16);
    const left = Math.max(62, longest * 6.6 + 10);
    const width = Math.max(this.host.clientWidth, 240);
    const reference = 22;
    const first = left + reference + 10;
    const step = Math.min((width - first - 4) / count, picture.named ? WIDEST_NAMED_PX : WIDEST_PX);
    const end = first + step * count;
    const rowPx = Math.max(7, Math.min(22, 300 / labels.length));
    const top = 16 + STRIP_PX + GAP_PX;
    const bottom = top + rowPx * labels.length;
    const below = bottom + GAP_PX + 14;
    const floor = below + STRIP_PX;
    const height = floor + 24;
    const gap = step >= 14 ? 2 : step >= 5 ? 1 : 0;
    const svg = drawn("svg", {
      viewBox: `0 0 ${width} ${height}`, width, height, class: "flip-map", role: "application", tabindex: 0, "aria-roledescription": "heat map",
      "aria-label": `${picture.title}. Sizes, labels and distances; left and right go from node to node, up and down from label to label.`,
    });
    const write = (text, x, y, anchor, name = "flip-tick-text") => svg.append(drawn("text", { x, y, "text-anchor": anchor, class: name }, text));
    const x = (at) => first + at * step;
    const ground = `M${first} ${top}H${end}V${bottom}H${first}zM${left} ${top}h${reference}V${bottom}h${-reference}z`;
    svg.append(drawn("path", { d: ground, class: "flip-ground" }));
    // the map, and beside it the whole
    svg.append(...shades(count * labels.length, (at) => shadeOf(columns.shares[Math.floor(at / count)][at % count]), (at) => [
      x(at % count) + gap / 2, top + Math.floor(at / count) * rowPx + (rowPx > 9 ? 0.5 : 0), step - gap, rowPx - (rowPx > 9 ? 1 : 0),
    ]));
    svg.append(...shades(labels.length, (at) => shadeOf(whole[at]), (at) => [left, top + at * rowPx + 0.5, reference, rowPx - 1]));
    if (columns.counts.length && step >= 30 && rowPx >= 15) {
      columns.counts.forEach((row, label) => row.forEach((number, at) => {
        if (number) write(number.toLocaleString("en"), x(at) + step / 2, top + label * rowPx + rowPx / 2 + 4, "middle", `flip-count flip-on-${shadeOf(columns.shares[label][at])}`);
      }));
    }
    const every = Math.ceil(11 / rowPx);
    labels.forEach((label, at) => {
      if (at % every === 0) write(label.length > 16 ? `${label.slice(0, 15)}…` : label, left - 6, top + at * rowPx + rowPx / 2 + 4, "end");
    });
    write("all", left + reference / 2, bottom + 12, "middle");
    // sizes above, distances below
    const largest = Math.max(...columns.largest, 1);
    const size = (value) => (STRIP_PX * value) / largest;
    svg.append(this.bars(columns.size, columns.largest, x, step - gap, gap, (value) => [top - GAP_PX - size(value), size(value)]));
    write(largest.toLocaleString("en"), left + reference, top - GAP_PX - STRIP_PX + 9, "end");
    write("examples", left + reference, top - GAP_PX - 3, "end");
    const most = Math.max(...columns.worst.map((each) => each ?? 0), picture.farthest / 100);
    const far = (value) => (STRIP_PX * (value ?? 0)) / most;
    svg.append(this.bars(columns.distance, columns.worst, x, step - gap, gap, (value) => [floor - far(value), far(value)]));
    write(most.toFixed(2), left + reference, below + 9, "end");
    write("distance", left + reference, floor - 3, "end");
    svg.append(drawn("path", { d: `M${first} ${top - GAP_PX}H${end}M${first} ${floor}H${end}`, class: "flip-axis" }));
    this.nameColumns(write, x, step, floor + 16);
    const mark = drawn("path", { d: "", class: "flip-mark" });
    svg.append(mark);
    this.host.replaceChildren(svg);
    this.showKey();
    walk(svg, {
      columns: count,
      rows: labels.length,
      at: (px, py) => (px < first || px >= end ? null : [Math.floor((px - first) / step), Math.min(Math.max(Math.floor((py - top) / rowPx), 0), labels.length - 1)]),
      tell: (column, row) => {
        mark.setAttribute("d", `M${x(column)} ${top - 1}h${step}v${bottom - top + 2}h${-step}zM${x(column)} ${top + row * rowPx}h${step}v${rowPx}h${-step}z`);
        this.tell(this.describe(column, row));
      },
      leave: () => { mark.setAttribute("d", ""); this.tell(""); },
    });
  }

  // Bars of means; a thinner bar goes on to the largest where a column stands for several nodes.
  bars(means, ends, x, width, gap, box) {
    let [mean, end] = ["", ""];
    means.forEach((value, at) => {
      const [top, height] = box(value);
      mean += `M${(x(at) + gap / 2).toFixed(2)} ${top.toFixed(2)}h${width.toFixed(2)}v${height.toFixed(2)}h${(-width).toFixed(2)}z`;
      const [far, more] = box(ends[at]);
      if (more > height) end += `M${(x(at) + gap / 2).toFixed(2)} ${far.toFixed(2)}h${width.toFixed(2)}v${more.toFixed(2)}h${(-width).toFixed(2)}z`;
    });
    const both = drawn("g", { "aria-hidden": "true" });
    both.append(drawn("path", { d: end, class: "flip-reach" }), drawn("path", { d: mean, class: "flip-bar" }));
    return both;
  }

  nameColumns(write, x, step, y) {
    const { columns, nodes, named, num_nodes: total } = this.picture;
    if (columns.node.length < total) { write(`${counted(total, "node")} in ${columns.node.length} columns`, x(0), y, "start"); return; }
    const texts = named ? nodes : columns.node.map(String);
    const wide = Math.max(...texts.map((each) => each.length)) * 6.6 + 8;
    const every = Math.ceil(wide / step);
    if (!named) write("node", x(0) - 8, y, "end");
    texts.forEach((text, at) => { if (at % every === 0) write(text, x(at) + step / 2, y, "middle"); });
  }

  showKey() {
    const steps = [0, ...SHARES, 1000];
    const parts = steps.slice(1).map((edge, at) => {
      const svg = drawn("svg", { width: 14, height: 10, "aria-hidden": "true" });
      svg.append(drawn("path", { d: "M0 0h14v10h-14z", class: `flip-shade-${at + 1}` }));
      return element("span", {}, svg, at ? `to ${edge / 10} %` : `above 0 to ${edge / 10} %`);
    });
    this.key.replaceChildren("share of the node's examples:", element("span", { class: "flip-empty" }, "none"), ...parts);
  }

  describe(column, row) {
    const { columns, labels, distance_words: words } = this.picture;
    const share = columns.shares[row][column];
    const count = columns.counts.length ? `${counted(columns.counts[row][column], "example")}, ` : "";
    const size = columns.num_nodes[column] > 1
      ? `${columns.size[column].toLocaleString("en")} examples on average (${columns.smallest[column]} to ${columns.largest[column]})`
      : counted(columns.largest[column], "example");
    const far = columns.distance[column] === null ? "" : ` · ${words} ${columns.distance[column].toFixed(2)}`;
    const worst = columns.num_nodes[column] > 1 && columns.worst[column] !== null ? `, at most ${columns.worst[column].toFixed(2)}` : "";
    return `${this.called(column)}: ${size} · label ${labels[row]}: ${count}${percent(share)}${far}${worst}`;
  }

  // --- distances between nodes

  drawMatrix() {
    const { matrix, farthest, distance_words: words } = this.picture;
    this.matrix.hidden = !matrix;
    if (!matrix) return;
    const count = matrix.node.length;
    const side = Math.min(MATRIX_PX, Math.max(this.host.clientWidth, 200));
    const step = Math.min(side / count, 34);
    const edge = step * count;
    const level = (value) => Math.min(SHADES, Math.floor((value / 1000) * SHADES) + 1);
    const svg = drawn("svg", {
      viewBox: `0 0 ${edge} ${edge}`, width: edge, height: edge, class: "flip-map", role: "application", tabindex: 0,
      "aria-roledescription": "matrix", "aria-label": `${words} between nodes; the arrow keys go from pair to pair.`,
    });
    svg.append(...shades(count * count, (at) => level(matrix.values[Math.floor(at / count)][at % count]), (at) => [
      (at % count) * step, Math.floor(at / count) * step, step + 0.05, step + 0.05,
    ]));
    const mark = drawn("path", { d: "", class: "flip-mark" });
    svg.append(mark);
    const note = element("figcaption", {}, `Between nodes, in the same order: ${words}`);
    const words_ = element("p", { class: "flip-key" });
    for (let at = 1; at <= SHADES; at += 1) {
      const one = drawn("svg", { width: 14, height: 10, "aria-hidden": "true" });
      one.append(drawn("path", { d: "M0 0h14v10h-14z", class: `flip-shade-${at}` }));
      words_.append(element("span", {}, one, `to ${Number(((farthest * at) / SHADES).toPrecision(2))}`));
    }
    this.matrix.replaceChildren(note, svg, words_);
    const name = (at) => (this.picture.nodes[at] ?? `node ${matrix.node[at]}`);
    walk(svg, {
      columns: count,
      rows: count,
      at: (px, py) => (px < edge && py < edge ? [Math.floor(px / step), Math.floor(py / step)] : null),
      tell: (column, row) => {
        mark.setAttribute("d", `M${column * step} ${row * step}h${step}v${step}h${-step}z`);
        const value = (matrix.values[row][column] / 1000) * farthest;
        this.tell(`${name(row)} and ${name(column)}: ${words} ${value.toFixed(2)}`);
      },
      leave: () => { mark.setAttribute("d", ""); this.tell(""); },
    });
  }
}

export default { render: shownBy(View, "partitions", "Explore partitions") };
