// The fleet view: shows the nodes that Python added up (flip_lab/boards/fleet/picture.py) and
// asks it what one node did.

const MAP_PX = 200; // height that the map may take
const LARGEST_PX = 26; // a node on the map
const SHADES = 5;
const MARGIN = { left: 58, right: 12, top: 8, bottom: 36 };
const CONDITIONS = ["fine", "failed", "failing", "excluded", "idle"];
const MEASURES = [
  ["condition", "condition"], ["mean_s", "mean time"], ["slowest_s", "longest time"], ["metric", "last metric"],
  ["examples", "examples"], ["rounds", "rounds"], ["up", "bytes up"],
];

// --- Elements -------------------------------------------------------------------------------

function fill(node, options, chosen) {
  node.replaceChildren(...options.map(([value, text]) => element("option", { value, selected: value === chosen }, text)));
  node.value = chosen;
}

// --- Numbers --------------------------------------------------------------------------------

export function bytesText(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let [size, at] = [value, 0];
  while (size >= 999.5 && at < units.length - 1) [size, at] = [size / 1024, at + 1];
  return `${Number(size.toPrecision(3))} ${units[at]}`;
}

function nodeName(id) {
  return id.startsWith("p") ? `partition ${id.slice(1)}` : `node ${id.slice(1)}`;
}

// Values that cut numbers into five parts of about equal size: where few are extreme, all differ.
export function cuts(values) {
  const sorted = values.filter((each) => each !== null).sort((one, two) => one - two);
  const found = [];
  for (let part = 1; part < SHADES; part += 1) {
    const cut = sorted[Math.floor((sorted.length * part) / SHADES)];
    if (cut !== undefined && cut > (found.at(-1) ?? sorted[0])) found.push(cut);
  }
  return found;
}

// --- A chart of one node and its cohort ---------------------------------------------------------

// `spec`: label, x, line {y, low, middle, high, odd}, marks (errors by index), from0, describe(at), tell(text).
function drawChart(host, spec) {
  const width = Math.max(host.clientWidth, 220);
  const height = 170;
  const { x, line } = spec;
  const [left, right, top, bottom] = [MARGIN.left, width - MARGIN.right, MARGIN.top, height - MARGIN.bottom];
  const all = [...line.y, ...line.low, ...line.high].filter((each) => each !== null);
  let [low, high] = all.length ? [Math.min(...all), Math.max(...all)] : [0, 1];
  if (spec.from0) low = Math.min(0, low);
  const pad = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  [low, high] = [spec.from0 ? low : low - pad, high + pad];
  const [first, last] = [x[0] ?? 0, x.at(-1) ?? 1];
  const px = (at) => (last > first ? left + ((x[at] - first) / (last - first)) * (right - left) : (left + right) / 2);
  const py = (value) => bottom - ((value - low) / (high - low)) * (bottom - top);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "flip-chart", role: "application", tabindex: 0, "aria-roledescription": "chart", "aria-label": spec.label });
  const write = (text, at, y, anchor) => svg.append(drawn("text", { x: at, y, "text-anchor": anchor, class: "flip-tick-text" }, text));
  for (const each of ticks(low, high, 4)) {
    svg.append(drawn("path", { d: `M${left} ${py(each).toFixed(1)}H${right}`, class: "flip-grid" }));
    write(numberText(each), left - 6, py(each) + 4, "end");
  }
  for (const each of ticks(first, last, Math.max(2, Math.floor((right - left) / 70))).filter(Number.isInteger)) {
    const at = last > first ? left + ((each - first) / (last - first)) * (right - left) : (left + right) / 2;
    svg.append(drawn("path", { d: `M${at.toFixed(1)} ${bottom}v4`, class: "flip-axis" }));
    write(String(each), at, bottom + 16, "middle");
  }
  write("round", right, height - 4, "end");
  svg.append(drawn("path", { d: `M${left} ${top}V${bottom}H${right}`, class: "flip-axis" }));
  const trace = (values) => {
    let [path, pen] = ["", "M"];
    values.forEach((value, at) => {
      if (value === null) { pen = "M"; return; }
      path += `${pen}${px(at).toFixed(1)} ${py(value).toFixed(1)}`;
      if (pen === "M") path += "h0"; // a point without neighbours is a dot
      pen = "L";
    });
    return path;
  };
  const inside = x.map((_, at) => at).filter((at) => line.low[at] !== null && line.high[at] !== null);
  const band = [...inside.map((at) => `${px(at).toFixed(1)} ${py(line.high[at]).toFixed(1)}`), ...inside.reverse().map((at) => `${px(at).toFixed(1)} ${py(line.low[at]).toFixed(1)}`)];
  if (band.length) svg.append(drawn("path", { d: `M${band.join("L")}Z`, class: "flip-band" }));
  svg.append(drawn("path", { d: trace(line.middle), class: "flip-path flip-cohort" }), drawn("path", { d: trace(line.y), class: "flip-path flip-own" }));
  const bad = { ...spec.marks, ...line.odd };
  const crosses = Object.keys(bad).map((at) => `M${(px(at) - 4).toFixed(1)} ${bottom - 12}l8 8m0 -8l-8 8`).join("");
  const hair = drawn("path", { d: "", class: "flip-hair" });
  svg.append(drawn("path", { d: crosses, class: "flip-crosses" }), hair);
  host.replaceChildren(svg);
  const there = x.map((_, at) => at).filter((at) => line.y[at] !== null || at in bad);
  let held = -1;
  const hold = (place) => {
    held = Math.min(Math.max(place, 0), there.length - 1);
    if (held < 0) return;
    hair.setAttribute("d", `M${px(there[held]).toFixed(1)} ${top}V${bottom}`);
    spec.tell(spec.describe(there[held]));
  };
  svg.addEventListener("pointermove", (event) => {
    const from = event.clientX - svg.getBoundingClientRect().left;
    let best = 0;
    there.forEach((at, place) => { if (Math.abs(px(at) - from) < Math.abs(px(there[best]) - from)) best = place; });
    hold(best);
  });
  svg.addEventListener("focus", () => { if (held < 0) hold(there.length - 1); });
  svg.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: held + 1, ArrowLeft: held - 1, Home: 0, End: there.length - 1 };
    if (!(event.key in moves)) return;
    hold(moves[event.key]);
    event.preventDefault();
    event.stopPropagation();
  });
}

// --- The widget -----------------------------------------------------------------------------

class View {
  constructor(model, root) {
    this.model = model;
    this.root = root;
    this.order = { column: "id", up: true };
    this.asked = new Map();
    this.ticket = 0;
    this.open = ""; // the node that is shown below
    this.build();
    this.watch();
    this.showFleet();
  }

  get fleet() { return this.model.get("fleet"); }

  watch() {
    this.handlers = [["change:fleet", () => this.showFleet()], ["msg:custom", (answer) => this.hear(answer)]];
    for (const [event, handler] of this.handlers) this.model.on(event, handler);
    this.drawnWidth = 0;
    this.sizes = new ResizeObserver(([entry]) => {
      const { width } = entry.contentRect; // 0 while Jupyter keeps the output off the page
      if (width && Math.abs(width - this.drawnWidth) >= 1) requestAnimationFrame(() => { this.drawMap(); this.drawNode(); });
    });
    this.sizes.observe(this.host);
  }

  leave() {
    for (const [event, handler] of this.handlers) this.model.off(event, handler);
    this.sizes.disconnect();
    this.table.leave();
    clearTimeout(this.late);
  }

  build() {
    this.title = element("h3", { class: "flip-title" });
    this.busy = element("span", { class: "flip-busy", role: "status" });
    const refresh = button("Refresh", () => this.wish({ ask: "refresh" }), { title: "Read the store again" });
    this.scope = element("select", { onchange: () => this.choose({ key: this.scope.value }) });
    this.metric = element("select", { onchange: () => this.choose({ metric: this.metric.value }) });
    this.measure = element("select", { onchange: () => this.drawMap() });
    fill(this.measure, MEASURES, "condition");
    this.query = element("input", { type: "search", placeholder: "partition 7, 12 …", oninput: () => this.filter() });
    this.condition = element("select", { onchange: () => this.filter() });
    const controls = element(
      "div", { class: "flip-controls", role: "group", "aria-label": "What is shown" },
      labelled("Nodes of", this.scope), labelled("Metric", this.metric), labelled("Map shows", this.measure),
      labelled("Condition", this.condition), labelled("Find", this.query),
    );
    this.error = element("div", { class: "flip-failure", role: "alert", hidden: true });
    this.facts = element("dl", { class: "flip-facts" });
    this.host = element("div", { class: "flip-host" });
    this.key = element("p", { class: "flip-key" });
    this.readout = element("p", { class: "flip-readout", "aria-live": "polite" });
    this.count = element("p", { class: "flip-count", "aria-live": "polite" });
    this.table = rowList({
      label: "Nodes; enter shows one over the rounds",
      columns: "minmax(108px, 1.2fr) minmax(72px, 1fr) 74px 60px 72px 66px 74px 74px 74px minmax(104px, 1fr)",
      draw: (at, row) => this.drawRow(this.listed[at], row),
      open: (at) => this.openNode(this.fleet.nodes.id[this.listed[at]]),
    });
    this.notes = element("ul", { class: "flip-notes", "aria-label": "Notes" });
    this.detail = element("section", { class: "flip-detail", tabindex: -1, hidden: true });
    this.root.append(
      element("div", { class: "flip-top" }, this.title, this.busy, refresh), controls, this.error, this.facts,
      this.host, this.key, this.readout, this.count, this.table.node, this.notes, this.detail,
    );
  }

  // --- wishes and questions

  choose(part) {
    this.model.set("settings", { key: this.fleet.key, metric: this.fleet.metric, ...part });
    this.model.save_changes();
    this.wish({ ask: "show" });
  }

  wish(question) {
    this.busy.textContent = "reading …";
    this.ask(question, () => { this.busy.textContent = ""; if (this.open) this.openNode(this.open); });
  }

  ask(question, then) {
    this.ticket += 1;
    this.asked.set(this.ticket, then);
    this.model.send({ ...question, ticket: this.ticket });
    return this.ticket;
  }

  hear(answer) {
    const then = this.asked.get(answer.ticket);
    this.asked.delete(answer.ticket);
    if (then) then(answer);
  }

  // --- the fleet

  showFleet() {
    const { fleet } = this;
    this.title.textContent = fleet.title;
    this.error.hidden = !fleet.error;
    if (fleet.error) this.error.replaceChildren(element("strong", {}, fleet.error.code), ` ${fleet.error.what} ${fleet.error.fix}`);
    fill(this.scope, fleet.offered.map((each) => [each.key, each.words]), fleet.key);
    fill(this.metric, fleet.metrics.map((each) => [each, each.replace(/(.*?)\/(.*)/, "$2 ($1)")]), fleet.metric);
    this.metric.disabled = !fleet.metrics.length;
    const wanted = this.condition.value;
    const there = fleet.conditions.map(([words, count], at) => [String(at), `${words} (${count.toLocaleString("en")})`]);
    fill(this.condition, [["", "any"], ...there.filter((_, at) => fleet.conditions[at][1] || String(at) === wanted)], wanted);
    const words = fleet.conditions.filter(([, count]) => count).map(([name, count]) => `${count.toLocaleString("en")} ${name}`);
    const facts = [fleet.facts[0], ...(words.length ? [["condition", words.join(", ")]] : []), ...fleet.facts.slice(1)];
    this.facts.replaceChildren(...facts.map(([name, told]) => element("div", {}, element("dt", {}, name), element("dd", {}, told))));
    this.notes.replaceChildren(...fleet.notes.map((note) => element("li", {}, note)));
    this.filter();
  }

  // Numbers find partitions: all of "7 12" are shown; words find names.
  filter() {
    const { nodes } = this.fleet;
    const terms = this.query.value.toLowerCase().split(/[\s,]+/).filter((each) => each && !["partition", "node"].includes(each));
    const wanted = this.condition.value === "" ? null : Number(this.condition.value);
    this.found = nodes.id.map((_, at) => at).filter((at) => (
      (wanted === null || nodes.condition[at] === wanted)
      && (!terms.length || terms.some((term) => nodes.id[at].slice(1) === term || (term.length > 5 && nodes.id[at].includes(term))))
    ));
    this.sort();
    this.drawMap();
  }

  value(column, at) {
    const { nodes } = this.fleet;
    if (column === "id") return nodes.id[at].startsWith("p") ? Number(nodes.id[at].slice(1)) : Number(nodes.id[at].slice(1)) + 1e9;
    if (column === "condition") return -nodes.condition[at];
    if (column === "failures") return nodes.replies[at] ? nodes.failures[at] / nodes.replies[at] : null;
    return nodes[column][at];
  }

  sort() {
    const { column, up } = this.order;
    const { fleet } = this;
    const values = new Map(this.found.map((at) => [at, this.value(column, at)]));
    const lost = (at) => values.get(at) === null; // those without a value come last, either way
    this.listed = [...this.found].sort((one, two) => (
      lost(one) - lost(two) || (up ? 1 : -1) * (values.get(one) - values.get(two)) || one - two
    ));
    const metric = fleet.metric.split("/").slice(1).join("/") || "metric";
    const columns = [
      ["id", "node"], ["condition", "condition"], ["failures", "failures"], ["rounds", "rounds"], ["examples", "examples"],
      ["mean_s", "mean s"], ["slowest_s", "longest s"], ["down", "down"], ["up", "up"], ["metric", metric],
    ];
    const headers = columns.map(([name, text], at) => {
      const isOn = name === column;
      const cell = element("span", { class: at > 1 ? "flip-number" : "", "aria-sort": isOn ? (up ? "ascending" : "descending") : "none" });
      const click = () => { this.order = { column: name, up: isOn ? !up : name === "id" }; this.sort(); };
      cell.append(button(`${text}${isOn ? (up ? " ▲" : " ▼") : ""}`, click, { title: `Sort by ${text}` }));
      return cell;
    });
    const sorting = this.table.node.contains(document.activeElement) && document.activeElement !== this.table.node;
    this.table.show(this.listed.length, { headers });
    if (sorting) headers[columns.findIndex(([name]) => name === column)].firstChild.focus();
    const total = fleet.nodes.id.length;
    this.count.textContent = !total ? "No node has taken part yet." : this.found.length < total ? `${this.found.length.toLocaleString("en")} of ${counted(total, "node")}` : counted(total, "node");
  }

  drawRow(at, row) {
    const { nodes, conditions } = this.fleet;
    const number = (text, name = "") => element("span", { class: `flip-number ${name}` }, text);
    const odd = nodes.odd[at];
    row.append(
      element("span", {}, nodeName(nodes.id[at])),
      element("span", { class: `flip-condition flip-is-${CONDITIONS[nodes.condition[at]]}`, title: conditions[nodes.condition[at]][0] }, CONDITIONS[nodes.condition[at]]),
      number(nodes.failures[at] ? `${nodes.failures[at]} of ${nodes.replies[at]}` : "–", nodes.failures[at] ? "flip-bad" : ""),
      number(nodes.rounds[at].toLocaleString("en")), number((nodes.examples[at] ?? 0).toLocaleString("en")),
      number(numberText(nodes.mean_s[at])), number(numberText(nodes.slowest_s[at])),
      number(bytesText(nodes.down[at] ?? 0)), number(bytesText(nodes.up[at] ?? 0)),
      number(odd ?? numberText(nodes.metric[at]), odd ? "flip-bad" : ""),
    );
    row.setAttribute("aria-selected", String(nodes.id[at] === this.open));
  }

  describe(at) {
    const { nodes, conditions, metric } = this.fleet;
    const name = metric.split("/").slice(1).join("/");
    const parts = [
      nodeName(nodes.id[at]), conditions[nodes.condition[at]][0], counted(nodes.rounds[at], "round"),
      nodes.mean_s[at] === null ? "" : `${numberText(nodes.mean_s[at])} s on average, at most ${numberText(nodes.slowest_s[at])} s`,
      nodes.failures[at] ? `${nodes.failures[at]} of ${counted(nodes.replies[at], "reply").replace("replys", "replies")} failed` : "",
      name && (nodes.odd[at] || nodes.metric[at] !== null) ? `${name} ${nodes.odd[at] ?? numberText(nodes.metric[at])}` : "",
    ];
    return parts.filter(Boolean).join(" · ");
  }

  // --- the map: one square a node, in the order of the list without sorting

  drawMap() {
    const { nodes } = this.fleet;
    this.drawnWidth = this.host.clientWidth;
    const count = nodes.id.length;
    this.host.hidden = !count;
    if (!count) { this.key.replaceChildren(); this.tell(""); return; }
    const width = Math.max(this.host.clientWidth, 200);
    let cell = LARGEST_PX;
    while (cell > 3 && Math.ceil(count / Math.floor(width / cell)) * cell > MAP_PX) cell -= 1;
    const across = Math.min(Math.floor(width / cell), count);
    const height = Math.ceil(count / across) * cell;
    const gap = cell >= 10 ? 2 : cell >= 5 ? 1 : 0.5;
    const svg = drawn("svg", {
      viewBox: `0 0 ${across * cell} ${height}`, width: across * cell, height, class: "flip-map", role: "application", tabindex: 0, "aria-roledescription": "map",
      "aria-label": `${counted(count, "node")}, one square each. The arrow keys go from node to node, enter opens one.`,
    });
    const measure = this.measure.value;
    const edges = measure === "condition" ? [] : cuts(nodes[measure]);
    const shade = (at) => {
      if (measure === "condition") return CONDITIONS[nodes.condition[at]];
      const value = nodes[measure][at];
      return value === null ? "none" : `shade-${edges.filter((edge) => value >= edge).length + 1 + (SHADES - 1 - edges.length)}`;
    };
    const shown = new Set(this.found);
    const paths = new Map();
    for (let at = 0; at < count; at += 1) {
      const [x, y, side] = [(at % across) * cell + gap / 2, Math.floor(at / across) * cell + gap / 2, cell - gap];
      const kind = `${shade(at)}${shown.has(at) ? "" : " flip-faint"}`;
      paths.set(kind, `${paths.get(kind) ?? ""}${shape(shade(at), x, y, side)}`);
    }
    for (const [kind, d] of paths) svg.append(drawn("path", { d, class: `flip-node flip-${kind}` }));
    const mark = drawn("path", { d: "", class: "flip-mark" });
    const chosen = drawn("path", { d: "", class: "flip-mark flip-chosen" });
    svg.append(chosen, mark);
    this.host.replaceChildren(svg);
    const frame = (at) => (at < 0 ? "" : `M${(at % across) * cell} ${Math.floor(at / across) * cell}h${cell}v${cell}h${-cell}z`);
    this.markOpen = () => chosen.setAttribute("d", frame(nodes.id.indexOf(this.open)));
    this.markOpen();
    this.showKey(measure, edges);
    this.tell("");
    let held = -1;
    const hold = (at) => { held = Math.min(Math.max(at, 0), count - 1); mark.setAttribute("d", frame(held)); this.tell(this.describe(held)); };
    const drop = () => { held = -1; mark.setAttribute("d", ""); this.tell(""); };
    const under = (event) => {
      const box = svg.getBoundingClientRect();
      const [column, row] = [Math.floor((event.clientX - box.left) / cell), Math.floor((event.clientY - box.top) / cell)];
      const at = row * across + column;
      return column >= 0 && column < across && at < count ? at : -1;
    };
    svg.addEventListener("pointermove", (event) => { const at = under(event); if (at >= 0) hold(at); });
    svg.addEventListener("pointerleave", () => { if (document.activeElement !== svg) drop(); });
    svg.addEventListener("blur", drop);
    svg.addEventListener("focus", () => { if (held < 0) hold(0); });
    svg.addEventListener("click", (event) => { const at = under(event); if (at >= 0) this.openNode(nodes.id[at]); });
    svg.addEventListener("keydown", (event) => {
      const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across, Home: -count, End: count };
      if (event.key in moves) hold(held + moves[event.key]);
      else if (event.key === "Enter" && held >= 0) this.openNode(nodes.id[held]);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  showKey(measure, edges) {
    const one = (kind, text) => {
      const svg = drawn("svg", { width: 12, height: 12, "aria-hidden": "true" });
      svg.append(drawn("path", { d: shape(kind, 1, 1, 10), class: `flip-node flip-${kind}` }));
      return element("span", {}, svg, text);
    };
    if (measure === "condition") {
      this.key.replaceChildren(...this.fleet.conditions.map(([words, count], at) => (count ? one(CONDITIONS[at], words) : "")));
      return;
    }
    const say = measure === "up" ? bytesText : numberText;
    const values = this.fleet.nodes[measure].filter((each) => each !== null);
    if (!values.length) { this.key.replaceChildren("no node has such a value yet"); return; }
    const ends = [values.reduce((one_, two) => Math.min(one_, two)), ...edges, values.reduce((one_, two) => Math.max(one_, two))];
    const first = SHADES - 1 - edges.length;
    const parts = ends.slice(1).map((end, at) => one(`shade-${first + at + 1}`, `${say(ends[at])} to ${say(end)}`));
    const lost = values.length < this.fleet.nodes.id.length ? [one("none", "no value")] : [];
    this.key.replaceChildren(`${MEASURES.find(([name]) => name === measure)[1]}, equal numbers of nodes:`, ...parts, ...lost);
  }

  tell(text) {
    this.readout.textContent = text || "Point at a square, or walk with the arrow keys; click or press enter for its history.";
    this.readout.classList.toggle("flip-hint", !text);
  }

  // --- one node

  openNode(id) {
    this.open = id;
    this.markOpen?.();
    const ticket = this.ask({ ask: "node", node: id }, (told) => {
      if (ticket !== this.detailTicket) return;
      const fresh = this.detail.hidden || this.told?.id !== id;
      this.told = { ...told, id };
      this.drawNode();
      if (fresh) {
        this.detail.focus({ preventScroll: true });
        this.detail.scrollIntoView({ block: "nearest" });
      }
    });
    this.detailTicket = ticket;
  }

  closeNode() {
    this.open = "";
    this.told = null;
    this.detail.hidden = true;
    this.markOpen?.();
    this.table.node.focus();
  }

  drawNode() {
    const { told } = this;
    if (!told || !this.open) return;
    this.detail.hidden = false;
    const title = nodeName(told.id);
    this.detail.setAttribute("aria-label", title);
    const head = element("div", { class: "flip-top" }, element("h4", {}, title), button("Close", () => this.closeNode()));
    if (told.error) { this.detail.replaceChildren(head, refusal(told.error)); return; }
    const at = this.fleet.nodes.id.indexOf(told.id);
    const words = element("p", {}, at < 0 ? "" : this.describe(at).split(" · ").slice(1).join(" · "));
    const name = this.fleet.metric.split("/").slice(1).join("/");
    const charts = element("div", { class: "flip-charts" });
    const spoken = element("p", { class: "flip-readout flip-hint", "aria-live": "polite" }, "Point at a round, or walk with the arrow keys.");
    this.detail.replaceChildren(head, words, charts, spoken, this.errorList(told));
    if (!told.x.length) { charts.append(element("p", { class: "flip-nothing" }, "No round has replies yet.")); return; }
    const pieces = [
      ...(name ? [{ title: name, line: told.value, from0: false, unit: "" }] : []),
      { title: `seconds (${this.fleet.phase})`, line: told.seconds, from0: true, unit: " s" },
    ];
    const hosts = pieces.map(() => element("div", { class: "flip-host" }));
    charts.append(...pieces.map((piece, at) => element("figure", {}, element("figcaption", {}, piece.title), hosts[at])));
    for (const [place, { title: called, line, from0, unit }] of pieces.entries()) {
      drawChart(hosts[place], {
        label: `${called} of ${title} over the rounds, and its cohort; left and right go from round to round.`,
        x: told.x,
        line,
        from0,
        marks: told.errors,
        describe: (round) => {
          const value = line.odd[round] ?? numberText(line.y[round]);
          const cohort = line.middle[round] === null ? "" : ` · cohort ${numberText(line.middle[round])}${unit} (${numberText(line.low[round])} to ${numberText(line.high[round])})`;
          const error = told.errors[round] ? ` · failed with code ${told.errors[round]}` : "";
          return `${told.round[round]} · ${called} ${value}${line.y[round] === null ? "" : unit}${cohort}${error}`;
        },
        tell: (text) => { spoken.textContent = text; spoken.classList.remove("flip-hint"); },
      });
    }
    charts.append(element(
      "p", { class: "flip-key" }, sample("flip-path flip-own", "this node"), sample("flip-path flip-cohort", "the cohort's median, and 10 % to 90 % of it"),
      ...(Object.keys({ ...told.errors, ...told.value.odd }).length ? [sample("flip-crosses", "failed, or no finite number")] : []),
    ));
  }

  errorList(told) {
    if (!told.told.length) return element("p", { class: "flip-hint" }, "It reported no error.");
    const rows = told.told.map((each) => element(
      "li", {}, element("details", {}, element("summary", {}, element("strong", {}, `${each.round}, ${each.phase}, code ${each.code}`), ` ${each.last}`), element("pre", { tabindex: 0 }, each.text || each.last)),
    ));
    return element("div", {}, element("h5", {}, "Newest errors"), element("ul", { class: "flip-errors" }, ...rows));
  }
}

// What a node looks like on the map: shape tells what colour tells.
function shape(kind, x, y, side) {
  const box = (at, up, width) => `M${at.toFixed(2)} ${up.toFixed(2)}h${width.toFixed(2)}v${width.toFixed(2)}h${(-width).toFixed(2)}z`;
  const [half, right, below] = [side / 2, x + side, y + side];
  if (kind === "failed") return `M${x.toFixed(2)} ${below.toFixed(2)}L${(x + half).toFixed(2)} ${y.toFixed(2)}L${right.toFixed(2)} ${below.toFixed(2)}z`;
  if (kind === "failing" && side >= 6) {
    const arm = side * 0.28;
    return `M${(x + arm).toFixed(2)} ${y.toFixed(2)}L${(x + half).toFixed(2)} ${(y + half - arm).toFixed(2)}L${(right - arm).toFixed(2)} ${y.toFixed(2)}L${right.toFixed(2)} ${(y + arm).toFixed(2)}`
      + `L${(x + half + arm).toFixed(2)} ${(y + half).toFixed(2)}L${right.toFixed(2)} ${(below - arm).toFixed(2)}L${(right - arm).toFixed(2)} ${below.toFixed(2)}L${(x + half).toFixed(2)} ${(y + half + arm).toFixed(2)}`
      + `L${(x + arm).toFixed(2)} ${below.toFixed(2)}L${x.toFixed(2)} ${(below - arm).toFixed(2)}L${(x + half - arm).toFixed(2)} ${(y + half).toFixed(2)}L${x.toFixed(2)} ${(y + arm).toFixed(2)}z`;
  }
  if (kind === "idle" || kind === "none") return box(x + side * 0.3, y + side * 0.3, side * 0.4);
  if (kind === "excluded" && side >= 6) {
    const rim = Math.max(1.5, side * 0.14);
    return `${box(x, y, side)}M${(x + rim).toFixed(2)} ${(y + rim).toFixed(2)}v${(side - 2 * rim).toFixed(2)}h${(side - 2 * rim).toFixed(2)}v${(2 * rim - side).toFixed(2)}z`;
  }
  return box(x, y, side);
}

function sample(name, text) {
  const svg = drawn("svg", { width: 24, height: 10, "aria-hidden": "true" });
  svg.append(drawn("path", { d: name === "flip-crosses" ? "M8 1l8 8m0 -8l-8 8" : "M1 5h22", class: name }));
  return element("span", {}, svg, text);
}

export default { render: shownBy(View, "fleet", "Nodes of a federation") };
