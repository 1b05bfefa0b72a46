// The launch form: draws the fields that Python describes (flip_lab/boards/launcher/schema.py),
// sends what is typed, and shows what Python says of it. Nothing is checked here: the one judge
// is the code of a launch.

const SOON_MS = 250; // after the last key
const SLOW_MS = 700; // from here on we say that we wait
const CALM_MS = 800; // after a launch, in which a second click is the first one's shadow
const NICE = [1, 2, 5, 10];
const RELEASES = ["pointerup", "pointercancel", "dragend", "blur"];

// --- Words ----------------------------------------------------------------------------------

// `code` between backticks, as the scenarios' descriptions have it.
function withCode(text) {
  return text.split("`").map((part, at) => (at % 2 ? element("code", {}, part) : part));
}

function shown(raw, { empty = "empty" } = {}) {
  if (typeof raw === "boolean") return raw ? "yes" : "no";
  const line = String(raw ?? "").split(/\s+/).filter(Boolean).join(" ");
  return line.length > 40 ? `${line.slice(0, 39)}…` : line || empty;
}

// --- Numbers --------------------------------------------------------------------------------

// The next number when an arrow key is pressed: whole steps, or 1, 2, 5 times a power of ten.
export function stepped(value, up, spec, by = 1) {
  if (spec.kind === "integer") return within(Math.round(value) + (up ? by : -by), spec);
  if (spec.least !== undefined || spec.above !== undefined) {
    const low = spec.least ?? spec.above;
    const high = spec.most ?? spec.below;
    if (high !== undefined && high - low <= 1) {
      return within(Number((value + (up ? 0.05 : -0.05) * by).toFixed(6)), spec);
    }
  }
  return within(by > 1 ? value * (up ? 10 : 0.1) : niceStep(value, up), spec);
}

function niceStep(value, up) {
  if (value === 0) return up ? 0.001 : 0;
  if (value < 0) return -niceStep(-value, !up);
  const power = 10 ** Math.floor(Math.log10(value) + 1e-9);
  const lead = value / power;
  const found = up
    ? NICE.find((each) => each > lead * (1 + 1e-9))
    : [0.5, ...NICE].reverse().find((each) => each < lead * (1 - 1e-9));
  return Number((found * power).toPrecision(6));
}

function within(value, { least, most, above, below }) {
  if (most !== undefined && value > most) return most;
  if (least !== undefined && value < least) return least;
  if (above !== undefined && value <= above) return null;
  if (below !== undefined && value >= below) return null;
  return Number(value.toPrecision(12));
}

function rangeText({ least, most, above, below }) {
  if (least !== undefined && most !== undefined) return `${least} to ${most}`;
  const parts = [];
  if (above !== undefined) parts.push(`> ${above}`);
  if (least !== undefined) parts.push(`≥ ${least}`);
  if (below !== undefined) parts.push(`< ${below}`);
  if (most !== undefined) parts.push(`≤ ${most}`);
  return parts.join(", ");
}

// --- One field ------------------------------------------------------------------------------

// What makes a new control necessary; the rest is changed in place, so that nobody loses the
// field he is in.
function shapeOf(spec) {
  return JSON.stringify([spec.label, spec.kind, spec.choices, spec.is_closed, spec.is_long, spec.help, spec.unit]);
}

class Field {
  constructor(spec, id, changed, reset) {
    this.spec = spec;
    this.shape = shapeOf(spec);
    this.changed = changed;
    this.input = this.control(id);
    this.range = element("span", { class: "flip-range", id: `${id}-range` });
    this.help = element("p", { class: "flip-help", id: `${id}-help` }, spec.help ?? "");
    this.about = element("p", { class: "flip-about", id: `${id}-about` });
    this.error = element("p", { class: "flip-error", id: `${id}-error` });
    this.undo = button("↺", () => { reset(spec.path); this.input.focus(); }, { class: "flip-undo" });
    const label = element("label", { for: id }, spec.label);
    const unit = spec.unit ? element("span", { class: "flip-unit" }, spec.unit) : "";
    const head = element("div", { class: "flip-label" }, label, this.range);
    const box = element("div", { class: "flip-control" }, this.input, unit, ...(this.words ? [this.words] : []), this.undo);
    this.node = element("div", { class: "flip-item" }, head, box, this.error, this.about, this.help);
    this.node.classList.toggle("flip-wide", Boolean(spec.is_long));
    this.update(spec);
  }

  control(id) {
    const { spec } = this;
    const about = { id, autocomplete: "off", spellcheck: "false" };
    if (spec.kind === "boolean") {
      this.words = element("span", { class: "flip-words" });
      return element("input", { id, type: "checkbox", onchange: () => this.changed(true) });
    }
    if (spec.choices && spec.is_closed) {
      const options = spec.choices.map((each) => element("option", { value: each }, each));
      return element("select", { id, onchange: () => this.changed(true) }, ...options);
    }
    const events = { oninput: () => this.changed(false), onchange: () => this.changed(true) };
    if (spec.is_long) return element("textarea", { ...about, ...events, rows: 2 });
    const input = element("input", { ...about, ...events, type: "text" });
    if (spec.choices) {
      const options = spec.choices.map((each) => element("option", { value: each }));
      this.words = element("datalist", { id: `${id}-list` }, ...options);
      input.setAttribute("list", `${id}-list`);
    }
    if (this.isNumber) {
      input.setAttribute("inputmode", spec.kind === "integer" ? "numeric" : "decimal");
      input.setAttribute("role", "spinbutton");
      input.addEventListener("keydown", (event) => this.walk(event));
    }
    if (spec.is_optional) input.placeholder = spec.empty ?? "default";
    if (spec.kind === "list") input.placeholder = "one, another";
    return input;
  }

  get isNumber() { return this.spec.kind === "integer" || this.spec.kind === "number"; }

  get value() { return this.spec.kind === "boolean" ? this.input.checked : this.input.value; }

  set value(raw) {
    if (this.value === raw) return;
    if (this.spec.kind === "boolean") this.input.checked = raw === true;
    else this.input.value = String(raw);
  }

  walk(event) {
    const moves = { ArrowUp: [true, 1], ArrowDown: [false, 1], PageUp: [true, 10], PageDown: [false, 10] };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const now = Number(this.input.value);
    const from = this.input.value.trim() === "" ? (this.spec.least ?? 0) - (moves[event.key][0] ? 1 : 0) : now;
    if (!Number.isFinite(from)) return;
    const [up, by] = moves[event.key];
    const next = stepped(from, up, this.spec, by);
    if (next === null || String(next) === this.input.value) return;
    this.input.value = String(next);
    this.changed(false);
  }

  update(spec) {
    this.spec = spec;
    say(this.range, rangeText(spec));
    say(this.about, spec.about ?? "");
    this.help.hidden = Boolean(spec.about); // what the chosen one is says more than what a name is
    if (this.isNumber) {
      for (const [name, value] of [["aria-valuemin", spec.least ?? spec.above], ["aria-valuemax", spec.most ?? spec.below]]) {
        if (value === undefined) this.input.removeAttribute(name);
        else this.input.setAttribute(name, String(value));
      }
    }
  }

  tell(problem, isChanged, before) {
    this.node.classList.toggle("flip-changed", isChanged);
    this.undo.hidden = !isChanged;
    this.undo.setAttribute("aria-label", `Reset ${this.spec.label}: was ${shown(before, this.spec)}`);
    this.undo.title = `Reset: was ${shown(before, this.spec)}`;
    this.error.replaceChildren();
    this.error.hidden = !problem;
    if (problem) this.error.append(element("strong", {}, problem.code), " ", problem.what, " ", problem.fix);
    this.input.setAttribute("aria-invalid", String(Boolean(problem)));
    if (this.spec.kind === "boolean") say(this.words, this.input.checked ? "yes" : "no");
    if (this.isNumber) {
      const number = Number(this.input.value);
      const isGood = this.input.value.trim() !== "" && Number.isFinite(number);
      if (isGood) this.input.setAttribute("aria-valuenow", String(number));
      else this.input.removeAttribute("aria-valuenow");
      this.input.setAttribute("aria-valuetext", this.input.value || "empty");
    }
    const describing = [problem && this.error, this.range, this.about, this.help].filter((each) => each && !each.hidden && each.textContent);
    this.input.setAttribute("aria-describedby", describing.map((each) => each.id).join(" "));
  }
}

// --- The widget -----------------------------------------------------------------------------

class View {
  constructor(model, root) {
    this.model = model;
    this.root = root;
    this.name = `flip-${Math.random().toString(36).slice(2, 10)}`; // several forms on a page
    this.fields = new Map();
    this.edits = { ...model.get("verdict").edits };
    this.line = new Line(model);
    this.numAsked = 0; // questions that wait for their answers
    this.build();
    this.held = []; // what is to be drawn once nothing is pressed any more
    this.press = () => { this.isPressed = true; };
    this.release = () => {
      this.isPressed = false;
      setTimeout(() => { for (const draw of this.held.splice(0)) draw(); }, 0); // after the click
    };
    this.root.addEventListener("pointerdown", this.press);
    for (const event of RELEASES) window.addEventListener(event, this.release);
    this.handlers = [
      ["change:form", () => this.calmly(() => this.showForm())],
      ["change:verdict", () => this.calmly(() => this.hearVerdict())],
      ["change:launched", () => this.showLaunched()],
      ["change:shown", () => this.showLaunched()],
    ];
    for (const [event, handler] of this.handlers) this.model.on(event, handler);
    this.showForm();
    this.showVerdict();
    this.showLaunched();
  }

  leave() {
    for (const [event, handler] of this.handlers) this.model.off(event, handler);
    for (const timer of [this.soon, this.late, this.calm]) clearTimeout(timer);
    for (const event of RELEASES) window.removeEventListener(event, this.release);
    this.line.leave();
  }

  // A field that moves away between press and release would lose the click.
  calmly(draw) {
    if (this.isPressed) this.held.push(draw);
    else draw();
  }

  // --- parts

  build() {
    this.busy = element("span", { class: "flip-busy", role: "status" });
    this.head = element("div", { class: "flip-top" }, element("h3", { class: "flip-title" }, "Launch a run"), this.busy);
    this.what = element("select", { id: `${this.name}-what`, onchange: () => this.choose(this.what.value) });
    this.whatError = element("div", { class: "flip-whole" });
    this.title = element("strong");
    this.prose = element("div", { class: "flip-prose" });
    this.story = element("details", { class: "flip-story" }, element("summary", {}, this.title), this.prose);
    this.picker = element("div", { class: "flip-item flip-picker" }, element("div", { class: "flip-label" }, element("label", { for: this.what.id }, "Scenario")), this.what);
    this.groups = element("div", { class: "flip-groups" });
    this.changes = element("div", { class: "flip-changes", role: "group", "aria-label": "What differs from the defaults" });
    this.code = element("code");
    this.copy = copyOf(this.code, { class: "flip-copy" });
    const python = element("div", { class: "flip-python" },
      element("div", { class: "flip-label" }, element("span", { id: `${this.name}-python` }, "The same in Python"), this.copy),
      element("pre", { tabindex: 0, role: "region", "aria-labelledby": `${this.name}-python` }, this.code));
    this.status = element("p", { class: "flip-status", role: "status", id: `${this.name}-status` });
    this.go = button("Launch", (event) => this.launch(event), { class: "flip-launch", "aria-describedby": this.status.id });
    this.go.addEventListener("keydown", (event) => { if (event.repeat) event.preventDefault(); });
    this.failure = element("div", { class: "flip-whole", "aria-live": "assertive" });
    this.launched = element("div", { class: "flip-launched", role: "group", "aria-label": "Runs launched here" });
    this.root.append(
      this.head, this.picker, this.whatError, this.story, this.groups, this.changes, python,
      element("div", { class: "flip-go" }, this.go, this.status), this.failure, this.launched,
    );
  }

  // --- the fields

  showForm() {
    const form = this.model.get("form");
    this.showWhat(form);
    const found = new Map();
    const groups = form.groups.map((group) => this.drawGroup(group, found));
    this.fields = found;
    // A node that stays where it is keeps the focus; replaceChildren would take it away.
    const now = [...this.groups.children];
    groups.forEach((node, at) => { if (now[at] !== node) this.groups.insertBefore(node, this.groups.children[at] ?? null); });
    for (const node of now) if (!groups.includes(node)) node.remove();
  }

  showWhat(form) {
    const options = form.scenarios.map(({ name, title }) => element("option", { value: name, title }, title ? `${name}: ${title}` : name));
    this.what.replaceChildren(...options);
    this.what.value = form.what;
    say(this.title, form.title);
    const paragraphs = form.description.trim().split(/\n\s*\n/).filter(Boolean);
    const parts = paragraphs.map((text) => element("p", {}, ...withCode(text.replace(/\s+/g, " "))));
    if (form.expectations.length) {
      parts.push(element("p", {}, "A run must show:"), element("ul", {}, ...form.expectations.map((each) => element("li", {}, each))));
    }
    this.prose.replaceChildren(...parts);
    this.story.hidden = !form.title && !parts.length;
  }

  drawGroup(group, found) {
    const old = this.groups.querySelector(`[data-group="${group.key}"]`);
    const node = old ?? this.newGroup(group);
    const [plain, options] = node.querySelectorAll(".flip-items");
    const choosing = group.fields.find((each) => each.choices && each.is_closed && !each.is_option);
    for (const [host, mine] of [[plain, group.fields.filter((each) => !each.is_option)], [options, group.fields.filter((each) => each.is_option)]]) {
      const nodes = mine.map((spec) => this.drawField(spec, found).node);
      nodes.forEach((each, at) => { if (host.children[at] !== each) host.insertBefore(each, host.children[at] ?? null); });
      while (host.children.length > nodes.length) host.lastChild.remove();
    }
    options.hidden = !options.children.length;
    options.setAttribute("aria-label", choosing ? `Options of the ${choosing.label.toLowerCase()}` : "Options");
    return node;
  }

  newGroup({ key, title }) {
    const items = element("div", { class: "flip-items" });
    const options = element("div", { class: "flip-items flip-options", role: "group" });
    if (key !== "about") return element("fieldset", { "data-group": key }, element("legend", {}, title), items, options);
    const summary = element("summary", {}, "Name and description");
    return element("details", { class: "flip-more", "data-group": key }, summary, items, options);
  }

  drawField(spec, found) {
    const known = this.fields.get(spec.path);
    if (known && known.shape === shapeOf(spec)) {
      known.update(spec);
      found.set(spec.path, known);
      return known;
    }
    const id = `${this.name}-${spec.path.replace(/[^\w]/g, "-")}-${spec.path.length}`;
    const field = new Field(spec, id, (isDone) => this.typed(spec.path, isDone), (path) => this.reset([path]));
    if (spec.kind === "prose") field.node.hidden = true; // told in the description
    found.set(spec.path, field);
    return field;
  }

  typed(path, isDone) {
    const field = this.fields.get(path);
    if (!field) return; // it was just taken away, and says a last time what stood in it
    this.edits[path] = field.value;
    this.change(isDone);
  }

  reset(paths) {
    const { defaults } = this.model.get("verdict");
    for (const path of paths) {
      delete this.edits[path];
      if (this.fields.has(path) && path in defaults) this.fields.get(path).value = defaults[path];
    }
    this.change(true);
  }

  // --- what Python says

  hearVerdict() {
    const verdict = this.model.get("verdict");
    if (verdict.by !== this.name) { // another view, or Python, put something in
      clearTimeout(this.soon);
      this.edits = { ...verdict.edits };
    }
    this.showVerdict();
  }

  showVerdict() {
    const { defaults, changes, problems, python, edits, by } = this.model.get("verdict");
    const isChanged = new Set(changes);
    for (const [path, field] of this.fields) {
      const isMine = by === this.name && path in this.edits;
      if (!isMine) field.value = path in edits ? edits[path] : defaults[path] ?? "";
      field.tell(problems[path], isChanged.has(path), defaults[path]);
    }
    say(this.code, python);
    this.showChanges(changes, defaults);
    this.showStatus();
    this.failure.replaceChildren(...(problems[""] ? [refusal(problems[""])] : []));
  }

  showChanges(changes, defaults) {
    const { what } = this.model.get("form");
    const chips = changes.map((path) => {
      const field = this.fields.get(path);
      const words = `${field.spec.label}: ${shown(defaults[path], field.spec)} → ${shown(field.value, field.spec)}`;
      return button(words, () => { field.node.closest("details")?.setAttribute("open", ""); field.input.focus(); }, { class: "flip-chip", title: path });
    });
    const count = chips.length ? `${counted(chips.length, "change")} from ${what}:` : `As ${what} has it.`;
    const all = chips.length ? [button("Reset all", () => { this.reset(changes); this.go.focus(); })] : [];
    const key = JSON.stringify([count, chips.map((each) => each.textContent)]);
    if (key === this.changesShown) return;
    this.changesShown = key;
    this.changes.replaceChildren(element("span", {}, count), ...chips, ...all);
  }

  get problems() { return this.model.get("verdict").problems; }

  showStatus() {
    const bad = Object.keys(this.problems).length;
    const label = this.isLaunching ? "Launching …" : "Launch";
    say(this.go, label);
    this.go.setAttribute("aria-disabled", String(Boolean(bad || this.isLaunching)));
    let words = "";
    if (this.isLaunching) words = "";
    else if (bad === 1) words = "1 value needs to be corrected.";
    else if (bad) words = `${bad} values need to be corrected.`;
    else if (this.told) words = this.told;
    say(this.status, words);
    this.status.classList.toggle("flip-bad", Boolean(bad) && !this.isLaunching);
  }

  // --- what we tell Python: one message is under way at a time, the newest edits follow it

  change(isDone) {
    clearTimeout(this.soon);
    this.told = "";
    if (isDone) this.send();
    else this.soon = setTimeout(() => this.send(), SOON_MS);
  }

  send() {
    if (this.isUnderWay) { this.isPending = true; return; }
    this.isUnderWay = true;
    this.ask({ ask: "change", edits: this.edits }, () => {
      this.isUnderWay = false;
      if (!this.isPending) return;
      this.isPending = false;
      this.send();
    });
  }

  choose(what) {
    clearTimeout(this.soon);
    this.isPending = false; // sent after this, they would be put into the other scenario
    this.whatError.replaceChildren();
    this.ask({ ask: "choose", what, edits: this.edits }, (answer) => {
      if (!answer.error) return;
      this.what.value = this.model.get("form").what;
      this.whatError.replaceChildren(refusal(answer.error));
    });
  }

  async ask(question, then = () => {}) {
    this.numAsked += 1;
    clearTimeout(this.late);
    this.late = setTimeout(() => { this.busy.textContent = waitingFor(this.model); }, SLOW_MS);
    const answer = await this.line.ask({ ...question, by: this.name });
    this.numAsked -= 1;
    if (!this.numAsked) {
      clearTimeout(this.late);
      this.busy.textContent = "";
    }
    then(answer);
  }

  // --- launching

  launch(event) {
    if (event.detail > 1 || this.isLaunching || this.isCalm) return; // a double click is one
    if (Object.keys(this.problems).length && !this.soon) { this.toFirstProblem(); return; }
    clearTimeout(this.soon);
    this.soon = 0;
    this.isLaunching = true;
    this.told = "";
    this.failure.replaceChildren();
    this.showStatus();
    this.presses = (this.presses ?? 0) + 1;
    this.ask({ ask: "launch", edits: this.edits, press: `${this.name}-${this.presses}` }, (answer) => this.launchedNow(answer));
  }

  launchedNow(answer) {
    this.isLaunching = false;
    this.isCalm = true;
    this.calm = setTimeout(() => { this.isCalm = false; }, CALM_MS);
    if (answer.run) this.told = answer.is_away ? `Launched ${answer.run} on the hub: this machine may leave. lab.detached() finds it.` : `Launched ${answer.run}.`;
    this.showStatus();
    if (answer.error) this.failure.replaceChildren(refusal(answer.error));
    if (answer.refused) this.toFirstProblem();
  }

  toFirstProblem() {
    for (const [path, field] of this.fields) {
      if (!(path in this.problems)) continue;
      field.node.closest("details")?.setAttribute("open", "");
      field.input.focus();
      return;
    }
  }

  showLaunched() {
    const runs = this.model.get("launched");
    const now = this.model.get("shown");
    const keys = runs.map((run) => button(run, () => this.ask({ ask: "show", run }), { "aria-pressed": String(run === now) }));
    this.launched.hidden = runs.length < 2;
    this.launched.replaceChildren("Launched here:", ...keys);
  }
}

export default { render: shownBy(View, "launcher", "Launch a run") };
