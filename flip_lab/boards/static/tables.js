// Numbers in cells, and a table of any length: only the rows in sight exist.

const ROW_PX = 28;

export function numberText(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) return value.toExponential(2).replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

function rowList({ label, columns, draw, open, toggle }) {
  const name = `flip-rows-${(made += 1)}`;
  const head = element("div", { class: "flip-row flip-row-head", role: "row" });
  const space = element("div", { class: "flip-space", role: "rowgroup" });
  const node = element("div", { class: "flip-rows", role: "grid", tabindex: 0, "aria-label": label });
  node.style.setProperty("--flip-columns", columns);
  node.append(element("div", { class: "flip-wide" }, head, space));
  let [count, active] = [0, 0];

  function render() {
    const first = Math.max(0, Math.floor(node.scrollTop / ROW_PX) - 4);
    const last = Math.min(count, Math.ceil((node.scrollTop + node.clientHeight) / ROW_PX) + 4);
    const rows = [];
    for (let at = first; at < last; at += 1) {
      const row = element("div", { class: "flip-row", role: "row", id: `${name}-${at}`, "aria-rowindex": at + 1 });
      row.style.top = `${at * ROW_PX}px`;
      row.classList.toggle("flip-active", at === active);
      row.dataset.at = String(at);
      draw(at, row);
      for (const cell of row.children) cell.setAttribute("role", "gridcell");
      rows.push(row);
    }
    space.replaceChildren(...rows);
    if (count) node.setAttribute("aria-activedescendant", `${name}-${active}`);
    else node.removeAttribute("aria-activedescendant");
  }

  function go(at) {
    active = Math.min(Math.max(at, 0), count - 1);
    const above = head.offsetHeight;
    const [top, bottom] = [active * ROW_PX, (active + 1) * ROW_PX];
    if (top < node.scrollTop) node.scrollTop = top;
    else if (bottom + above > node.scrollTop + node.clientHeight) {
      node.scrollTop = bottom + above - node.clientHeight;
    }
    render();
  }

  node.addEventListener("scroll", () => requestAnimationFrame(render), { passive: true });
  node.addEventListener("keydown", (event) => {
    if (event.target !== node || !count) return;
    const page = Math.max(1, Math.floor(node.clientHeight / ROW_PX) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -count, End: count };
    if (event.key in moves) go(active + moves[event.key]);
    else if (event.key === " " && toggle) toggle(active);
    else if ((event.key === "Enter" || event.key === " ") && open) open(active);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  space.addEventListener("click", (event) => {
    const row = event.target.closest(".flip-row");
    if (!row) return;
    active = Number(row.dataset.at);
    if (toggle && event.target.closest(".flip-tick")) toggle(active);
    else if (open) open(active);
    render();
  });
  const sizes = new ResizeObserver(render);
  sizes.observe(node);
  return {
    node,
    go,
    leave: () => sizes.disconnect(),
    show(number, { headers, columns: widths } = {}) {
      count = number;
      active = Math.min(active, Math.max(count - 1, 0));
      if (widths) node.style.setProperty("--flip-columns", widths);
      if (headers) head.replaceChildren(...headers);
      for (const cell of head.children) cell.setAttribute("role", "columnheader");
      head.hidden = !head.hasChildNodes();
      node.setAttribute("aria-rowcount", String(count));
      space.style.height = `${count * ROW_PX}px`;
      render();
    },
  };
}
