// What every board draws with. Plain DOM, no dependency. Text only ever enters the page as text,
// never as markup. A board's files are one module, in the order that flip_lab/boards/scripts.py
// names; this one comes first.

const SVG = "http://www.w3.org/2000/svg";
let made = 0; // names elements apart, also those of several boards on a page

function element(tag, about = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (value !== undefined && value !== null && value !== false) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  node.append(...children);
  return node;
}

function drawn(tag, about, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(about)) node.setAttribute(name, String(value));
  if (text !== undefined) node.textContent = text;
  return node;
}

function button(text, onclick, about = {}) {
  return element("button", { type: "button", onclick, ...about }, text);
}

function labelled(text, control, help) {
  if (!control.hasAttribute("role")) control.setAttribute("aria-label", text);
  return element("label", { class: "flip-field", title: help || null }, element("span", {}, text), control);
}

function select(options, chosen, onchange) {
  const node = element("select", { onchange: () => onchange(node.value) });
  for (const [value, text] of options) {
    node.append(element("option", { value, selected: value === chosen }, text));
  }
  return node;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text; // else it would be read out again
}

function counted(number, one) {
  return `${number.toLocaleString("en")} ${one}${number === 1 ? "" : "s"}`;
}

// A kernel may be busy with a cell; a panel is fed by the lab's server.
function waitingFor(model) {
  return model.widget_manager ? "waiting for the kernel …" : "waiting for the lab …";
}

function refusal({ code, what, fix }) {
  const note = element("div", { class: "flip-failure", role: "alert" });
  if (code) note.append(element("strong", {}, code), " ");
  note.append([what, fix].filter(Boolean).join(" "));
  return note;
}

// A button that takes the text of another element along.
function copyOf(source, about = {}) {
  const copy = button("Copy", async () => {
    const taking = navigator.clipboard?.writeText(source.textContent) ?? Promise.reject();
    const isTaken = await taking.then(() => true, () => false);
    copy.textContent = isTaken ? "Copied" : "Press Ctrl+C";
    if (!isTaken) getSelection().selectAllChildren(source);
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  }, about);
  return copy;
}

// Round steps of 1, 2 or 5 times a power of ten that cut the span into at most `most` parts.
export function ticks(low, high, most) {
  const rough = (high - low) / Math.max(most, 1);
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.9999);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9 && found.length < 50; at += 1) {
    found.push(Number((at * step).toPrecision(12)));
  }
  return found;
}

// Jupyter takes plain keys for its own: an arrow would move to the next cell, not on the board.
function keepKey(event) {
  const isJupyters = event.ctrlKey || event.metaKey || event.altKey || event.key === "Escape";
  if (!isJupyters && !(event.shiftKey && event.key === "Enter")) event.stopPropagation();
}

// What a page calls to draw a board: gives what takes it away again.
function shownBy(View, name, label) {
  return ({ model, el }) => {
    const root = element("section", { class: `flip-board flip-${name}`, "aria-label": label });
    root.addEventListener("keydown", keepKey);
    el.append(root);
    const view = new View(model, root);
    return () => view.leave();
  };
}
