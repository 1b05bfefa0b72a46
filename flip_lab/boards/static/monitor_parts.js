// The control room of a run: draws the parts that Python sends (flip_lab/boards/run/board.py)
// and sends what its buttons ask for.

// --- Elements -------------------------------------------------------------------------------

// Keeps the focus: a button that cannot be pressed now is still there to be found.
function enable(node, isOn) {
  if (isOn) node.removeAttribute("aria-disabled");
  else node.setAttribute("aria-disabled", "true");
}

function isOff(node) {
  return node.getAttribute("aria-disabled") === "true";
}

// Leaves a part alone while it stays the same, so that focus and open details survive.
function fill(part, facts, build) {
  const key = JSON.stringify(facts);
  if (part.dataset.shows === key) return;
  part.dataset.shows = key;
  part.replaceChildren(...build());
  part.hidden = !part.hasChildNodes();
}

// A line of Python to take along, and the button that takes it.
function pythonLine(label) {
  const code = element("code");
  const copy = copyOf(code, { class: "flip-quiet", "aria-label": `Copy ${label}` });
  const node = element("span", { class: "flip-python" }, code, copy);
  return { node, show: (text) => say(code, text) };
}

function failure({ code, what, fix, detail }, about = {}) {
  const note = element("div", { class: "flip-note", ...about });
  const first = element("p");
  if (code) first.append(element("strong", {}, code), " ");
  first.append(what);
  note.append(first);
  if (fix) note.append(element("p", {}, `Fix: ${fix}`));
  if (detail) {
    note.append(element("details", {}, element("summary", {}, "Details"), element("pre", {}, detail)));
  }
  return note;
}

// --- Numbers and Python ---------------------------------------------------------------------

export function durationText(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (hours) return `${hours}:${two(minutes)}:${two(rest)} h`;
  return minutes ? `${minutes}:${two(rest)} min` : `${rest} s`;
}

export function numberText(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) return value.toExponential(1).replace("e+", "e").replace(".0e", "e");
  return String(Number(value.toPrecision(4)));
}

export function pythonValue(value) {
  if (typeof value === "boolean") return value ? "True" : "False";
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

function isName(key) {
  return /^[A-Za-z_]\w*$/.test(key);
}

function pythonDict(values) {
  const parts = Object.entries(values).map(([key, value]) => `${JSON.stringify(key)}: ${pythonValue(value)}`);
  return `{${parts.join(", ")}}`;
}

const OF_POLICY = "policy.";

// `run.set(learning_rate=0.01, **{"strategy.mu": 1})`: names with a dot are no Python names.
export function pythonCall(name, first, values = {}) {
  const all = Object.entries(values);
  const parts = [...first, ...all.filter(([key]) => isName(key)).map(([key, value]) => `${key}=${pythonValue(value)}`)];
  const odd = all.filter(([key]) => !isName(key));
  if (odd.length) parts.push(`**${pythonDict(Object.fromEntries(odd))}`);
  return `run.${name}(${parts.join(", ")})`;
}

// Settings, and parts of the rounds' policy: two methods, so two lines where both were changed.
export function pythonSet(values) {
  const all = Object.entries(values);
  const rest = Object.fromEntries(all.filter(([key]) => !key.startsWith(OF_POLICY)));
  const policy = all.filter(([key]) => key.startsWith(OF_POLICY));
  const parts = policy.map(([key, text]) => `${key.slice(OF_POLICY.length)}=${text === "" ? "None" : text}`);
  const lines = Object.keys(rest).length ? [pythonCall("set", [], rest)] : [];
  return [...lines, ...(parts.length ? [`run.set_policy(${parts.join(", ")})`] : [])].join("; ");
}

// What a person wrote, as a value of the setting's kind; `undefined` where it is none.
export function parsed(kind, text) {
  const trimmed = text.trim();
  if (kind === "optional") return trimmed === "" || parsed("float", trimmed) !== undefined ? trimmed : undefined;
  if (kind === "int") return /^[+-]?\d+$/.test(trimmed) ? Number(trimmed) : undefined;
  if (kind !== "float") return text;
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(trimmed) ? Number(trimmed) : undefined;
}
