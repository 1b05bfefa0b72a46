
// --- The clients: a cell for each, or a table -------------------------------------------------

// By the numbers of flip_lab.boards.run.nodes.Cell: word, and the name of its colour.
const KINDS = [
  ["not asked", "--flip-muted"], ["training", "--flip-blue"], ["done", "--flip-blue"],
  ["slow", "--flip-amber"], ["failed", "--flip-red"], ["left out", "--flip-muted"],
];
const [IDLE, RUNNING, DONE, SLOW, FAILED, LEFT_OUT] = [0, 1, 2, 3, 4, 5];
const TALLEST_PX = 196;
const TABLE_ROW_PX = 26;

export function unpacked(view, count) {
  const states = new Uint8Array(count);
  for (let at = 0; at < count; at += 1) {
    const both = view && (at >> 1) < view.byteLength ? view.getUint8(at >> 1) : 0;
    states[at] = at % 2 ? both & 15 : both >> 4;
  }
  return states;
}

// How wide a cell is with its gap, and how many stand side by side.
export function gridOf(count, width) {
  const fitting = Math.floor(Math.sqrt((width * TALLEST_PX) / Math.max(count, 1)));
  const pitch = Math.min(18, Math.max(4, fitting));
  const columns = Math.max(1, Math.floor(width / pitch));
  return { pitch, columns, rows: Math.ceil(count / columns) };
}

// Each kind has a shape of its own, so that colour is not the only sign.
function drawCell(pen, kind, x, y, size) {
  const line = Math.max(1, size / 8);
  pen.lineWidth = line;
  if (kind === IDLE) {
    const dot = Math.max(1, Math.round(size / 4));
    const off = Math.floor((size - dot) / 2);
    pen.fillRect(x + off, y + off, dot, dot);
  } else if (kind === RUNNING) {
    pen.strokeRect(x + line / 2, y + line / 2, size - line, size - line);
  } else if (kind === DONE) {
    pen.fillRect(x, y, size, size);
  } else if (kind === SLOW) { // the lower right half
    pen.beginPath();
    pen.moveTo(x + size, y);
    pen.lineTo(x + size, y + size);
    pen.lineTo(x, y + size);
    pen.fill();
  } else if (kind === FAILED) {
    pen.lineWidth = Math.max(1.4, size / 5);
    pen.beginPath();
    pen.moveTo(x + 0.5, y + 0.5);
    pen.lineTo(x + size - 0.5, y + size - 0.5);
    pen.moveTo(x + size - 0.5, y + 0.5);
    pen.lineTo(x + 0.5, y + size - 0.5);
    pen.stroke();
  } else { // left out: a bar, as on a road sign
    pen.fillRect(x, y + Math.floor(size / 2 - line), size, Math.max(1.5, line * 2));
  }
}

class ClientMap {
  // `ask(cells)` gives a promise of rows; `choose(cells)` is told what is selected.
  constructor({ ask, choose }) {
    this.ask = ask;
    this.choose = choose;
    this.count = 0;
    this.states = new Uint8Array(0);
    this.selected = new Set();
    this.at = 0;
    this.pitch = 18;
    const about = { class: "flip-map", tabindex: 0, role: "application", "aria-roledescription": "map of clients" };
    this.node = element("canvas", about);
    this.cursor = element("div", { class: "flip-cursor", hidden: true });
    this.host = element("div", { class: "flip-map-host" }, this.node, this.cursor);
    this.words = element("p", { class: "flip-node", "aria-live": "polite" });
    this.legend = element("ul", { class: "flip-legend", "aria-label": "Clients by what they do" });
    this.listen();
    this.sizes = new ResizeObserver(() => this.redraw());
    this.sizes.observe(this.host);
  }

  leave() { this.sizes.disconnect(); }

  show(states, counts, running) {
    this.count = states.length;
    this.states = states;
    this.at = Math.min(this.at, Math.max(0, this.count - 1));
    for (const at of this.selected) if (at >= this.count) this.selected.delete(at);
    fill(this.legend, [counts, running], () => counts.map((number, kind) => this.entry(kind, number, running)));
    const told = counts.map((number, kind) => (number ? `${number} ${kind === RUNNING ? running : KINDS[kind][0]}` : ""));
    this.node.setAttribute("aria-label", `${this.count} clients: ${told.filter(Boolean).join(", ")}. Arrow keys move, space selects.`);
    this.redraw();
  }

  entry(kind, number, running) {
    const swatch = element("canvas", { class: "flip-key", width: 22, height: 22, "aria-hidden": "true" });
    swatch.dataset.kind = String(kind);
    const item = element("li", {}, swatch, kind === RUNNING ? running : KINDS[kind][0], " ", element("strong", {}, number.toLocaleString("en")));
    item.classList.toggle("flip-none", !number);
    return item;
  }

  redraw() {
    if (this.soon) return;
    this.soon = requestAnimationFrame(() => { this.soon = 0; this.draw(); });
  }

  // light-dark() is only resolved in a real property: each colour is read from an element's.
  makeProbes() {
    this.probes = KINDS.map(([, name]) => {
      const probe = element("i", { class: "flip-probe", "aria-hidden": "true" });
      probe.style.color = `var(${name})`;
      return probe;
    });
    this.host.append(...this.probes);
  }

  inks() {
    if (!this.probes) this.makeProbes();
    return this.probes.map((probe) => getComputedStyle(probe).color);
  }

  draw() {
    const width = this.host.clientWidth;
    if (!width) return;
    const inks = this.inks();
    for (const swatch of this.legend.querySelectorAll("canvas")) {
      const kind = Number(swatch.dataset.kind);
      const pen = swatch.getContext("2d");
      pen.clearRect(0, 0, 22, 22);
      pen.fillStyle = pen.strokeStyle = inks[kind];
      drawCell(pen, kind, 1, 1, 20);
    }
    const { pitch, columns, rows } = gridOf(this.count, width);
    Object.assign(this, { pitch, columns });
    const ratio = window.devicePixelRatio || 1;
    const [wide, high] = [Math.round(columns * pitch * ratio), Math.round(Math.max(rows, 1) * pitch * ratio)];
    if (this.node.width !== wide || this.node.height !== high) {
      this.node.width = wide;
      this.node.height = high;
      this.node.style.width = `${columns * pitch}px`;
      this.node.style.height = `${Math.max(rows, 1) * pitch}px`;
    }
    const pen = this.node.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, columns * pitch, rows * pitch);
    const size = pitch - (pitch > 8 ? 3 : pitch > 5 ? 2 : 1);
    for (let kind = 0; kind < KINDS.length; kind += 1) {
      pen.fillStyle = pen.strokeStyle = inks[kind];
      for (let at = 0; at < this.count; at += 1) {
        if (this.states[at] === kind) drawCell(pen, kind, (at % columns) * pitch, Math.floor(at / columns) * pitch, size);
      }
    }
    pen.lineWidth = 2;
    pen.strokeStyle = getComputedStyle(this.host).color;
    for (const at of this.selected) {
      pen.strokeRect((at % columns) * pitch - 0.5, Math.floor(at / columns) * pitch - 0.5, size + 1, size + 1);
    }
  }

  // --- one cell

  cellAt(event) {
    const box = this.node.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / this.pitch);
    const at = Math.floor((event.clientY - box.top) / this.pitch) * this.columns + column;
    return column >= 0 && column < this.columns && at >= 0 && at < this.count ? at : -1;
  }

  point(at) {
    if (at < 0 || at >= this.count) return;
    this.at = at;
    const [left, top] = [(at % this.columns) * this.pitch, Math.floor(at / this.columns) * this.pitch];
    this.cursor.hidden = false;
    this.cursor.style.cssText = `left: ${left - 2}px; top: ${top - 2}px; width: ${this.pitch + 2}px; height: ${this.pitch + 2}px`;
    clearTimeout(this.wait);
    this.wait = setTimeout(async () => {
      const [row] = await this.ask([at]);
      if (row && this.at === at) this.tell(row);
    }, 60);
  }

  tell(row) {
    const metrics = Object.entries(row.metrics).map(([name, value]) => `${name} ${value}`).join(", ");
    const error = row.error ? `failed in round ${row.error_round}: ${row.error.split("\n").pop()}` : "";
    const rest = [row.words, metrics, error].filter(Boolean).join(" · ");
    this.words.replaceChildren(element("strong", {}, row.title), rest ? ` · ${rest}` : "");
    this.words.title = row.error;
  }

  select(at, add) {
    if (at < 0) return;
    if (this.selected.has(at) && (add || this.selected.size === 1)) this.selected.delete(at);
    else {
      if (!add) this.selected.clear();
      this.selected.add(at);
    }
    this.choose([...this.selected].sort((one, two) => one - two));
    this.redraw();
  }

  clear() {
    this.selected.clear();
    this.choose([]);
    this.redraw();
  }

  listen() {
    this.node.addEventListener("pointermove", (event) => { const at = this.cellAt(event); if (at >= 0 && at !== this.pointed) { this.pointed = at; this.point(at); } });
    this.node.addEventListener("pointerleave", () => { this.pointed = -1; if (document.activeElement !== this.node) this.cursor.hidden = true; });
    this.node.addEventListener("click", (event) => this.select(this.cellAt(event), event.shiftKey || event.ctrlKey || event.metaKey));
    this.node.addEventListener("focus", () => this.point(this.at));
    this.node.addEventListener("blur", () => { this.cursor.hidden = true; });
    this.node.addEventListener("keydown", (event) => {
      const moves = {
        ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns,
        Home: -this.at, End: this.count - 1 - this.at,
      };
      if (event.key in moves) this.point(Math.max(0, Math.min(this.count - 1, this.at + moves[event.key])));
      else if (event.key === " " || event.key === "Enter") this.select(this.at, true);
      else if (event.key === "Escape" && this.selected.size) this.clear();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }
}

// The same for who reads rather than sees: only the rows in sight exist, and are asked for.
class ClientTable {
  constructor({ ask, toggle, isChosen, kindOf, nameOf }) {
    Object.assign(this, { ask, toggle, isChosen, kindOf, nameOf });
    this.count = 0;
    this.active = 0;
    this.rows = new Map();
    this.id = `flip-clients-${(made += 1)}`;
    const head = element("div", { class: "flip-row flip-row-head", role: "row" },
      ...["client", "now", "last", "metrics"].map((text) => element("span", { role: "columnheader" }, text)));
    this.space = element("div", { class: "flip-space", role: "rowgroup" });
    this.node = element("div", { class: "flip-rows", role: "grid", tabindex: 0, "aria-label": "Clients; space selects", "aria-multiselectable": "true" }, head, this.space);
    this.node.addEventListener("scroll", () => requestAnimationFrame(() => this.draw()), { passive: true });
    this.node.addEventListener("keydown", (event) => this.key(event));
    this.space.addEventListener("click", (event) => {
      const row = event.target.closest(".flip-row");
      if (!row) return;
      this.active = Number(row.dataset.at);
      this.toggle(this.active);
    });
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this.node);
  }

  leave() { this.sizes.disconnect(); }

  show(count) {
    this.count = count;
    this.active = Math.min(this.active, Math.max(0, count - 1));
    this.node.setAttribute("aria-rowcount", String(count));
    this.space.style.height = `${count * TABLE_ROW_PX}px`;
    this.draw();
  }

  get sight() {
    const first = Math.max(0, Math.floor(this.node.scrollTop / TABLE_ROW_PX) - 2);
    const last = Math.min(this.count, Math.ceil((this.node.scrollTop + this.node.clientHeight) / TABLE_ROW_PX) + 2);
    return Array.from({ length: Math.max(0, Math.min(last - first, 60)) }, (_, at) => first + at);
  }

  draw() {
    if (!this.node.clientHeight) return;
    const sight = this.sight;
    this.space.replaceChildren(...sight.map((at) => this.row(at)));
    this.node.setAttribute("aria-activedescendant", `${this.id}-${this.active}`);
    clearTimeout(this.wait);
    this.wait = setTimeout(async () => {
      const rows = await this.ask(sight);
      this.rows = new Map(rows.map((row) => [row.at, row]));
      for (const row of this.space.children) this.write(Number(row.dataset.at), row);
    }, 150);
  }

  row(at) {
    const about = { class: "flip-row", role: "row", id: `${this.id}-${at}`, "data-at": at, "aria-rowindex": at + 1, "aria-selected": String(this.isChosen(at)) };
    const row = element("div", about, ...[0, 1, 2, 3].map(() => element("span", { role: "gridcell" })));
    row.style.top = `${at * TABLE_ROW_PX}px`;
    row.classList.toggle("flip-active", at === this.active);
    this.write(at, row);
    return row;
  }

  write(at, row) {
    const known = this.rows.get(at);
    const metrics = known ? Object.entries(known.metrics).map(([name, value]) => `${name} ${value}`).join(", ") : "";
    const error = known?.error ? ` · error in round ${known.error_round}: ${known.error.split("\n").pop()}` : "";
    const texts = [known?.title ?? this.nameOf(at), this.kindOf(at), `${known?.words ?? "…"}${error}`, metrics];
    texts.forEach((text, place) => { say(row.children[place], text); row.children[place].title = text; });
  }

  key(event) {
    if (event.target !== this.node || !this.count) return;
    const page = Math.max(1, Math.floor(this.node.clientHeight / TABLE_ROW_PX) - 2);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.count, End: this.count };
    if (event.key in moves) {
      this.active = Math.min(Math.max(this.active + moves[event.key], 0), this.count - 1);
      const [top, bottom] = [this.active * TABLE_ROW_PX, (this.active + 2) * TABLE_ROW_PX];
      if (top < this.node.scrollTop) this.node.scrollTop = top;
      else if (bottom > this.node.scrollTop + this.node.clientHeight) this.node.scrollTop = bottom - this.node.clientHeight;
      this.draw();
    } else if (event.key === " " || event.key === "Enter") this.toggle(this.active);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
