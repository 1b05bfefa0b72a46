
// --- A form of settings: only what was changed counts -------------------------------------------

class SettingsForm {
  constructor(changed) {
    this.changed = changed;
    this.inputs = new Map();
    this.node = element("div", { class: "flip-fields" });
  }

  // What a person typed stays when the settings in force change below it.
  show(fields) {
    const names = fields.map((field) => field.name).join("\n");
    if (names !== [...this.inputs.keys()].join("\n")) {
      this.inputs = new Map(fields.map((field) => [field.name, this.input(field)]));
      const empty = element("p", { class: "flip-muted" }, "The run has not shown its settings yet: they are known once the first round begins.");
      this.node.replaceChildren(...(fields.length ? [...this.inputs.values()].map((each) => each.node) : [empty]));
    }
    for (const field of fields) {
      const input = this.inputs.get(field.name);
      const untouched = this.textOf(input) === input.field.text;
      input.field = field;
      if (untouched) this.write(input, field.text);
      this.check(input);
    }
  }

  input(field) {
    const id = `flip-field-${(made += 1)}`;
    const control = field.kind === "bool"
      ? element("select", { id }, element("option", { value: "true" }, "True"), element("option", { value: "false" }, "False"))
      : element("input", { id, type: "text", spellcheck: "false", autocomplete: "off", ...(field.kind === "text" ? {} : { inputmode: "decimal" }), ...(field.kind === "optional" ? { placeholder: "no limit" } : {}) });
    const problem = element("small", { class: "flip-problem", id: `${id}-problem` });
    control.setAttribute("aria-describedby", problem.id);
    const label = element("label", { for: id }, field.name.replace(/^policy\./, ""), " ", element("small", {}, field.scopes.join(", ")));
    const input = { field, control, problem, node: element("div", { class: "flip-field" }, label, control, problem) };
    control.addEventListener("input", () => { this.check(input); this.changed(); });
    this.write(input, field.text);
    return input;
  }

  write(input, text) { input.control.value = text; }

  textOf(input) { return input.control.value; }

  check(input) {
    const { field, control, problem, node } = input;
    const isChanged = this.textOf(input) !== field.text;
    const value = parsed(field.kind, this.textOf(input));
    const words = { int: "a whole number", float: "a number: 0.01, 1e-3", optional: "a number, or nothing for no limit" }[field.kind];
    const isBad = field.kind !== "bool" && value === undefined;
    say(problem, isBad ? `Write ${words}.` : isChanged ? `now ${field.text || "no limit"}` : "");
    node.classList.toggle("flip-changed", isChanged && !isBad);
    node.classList.toggle("flip-bad", isBad);
    if (isBad) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
    return !isBad;
  }

  get isGood() { return [...this.inputs.values()].every((input) => this.check(input)); }

  get values() {
    const found = {};
    for (const [name, input] of this.inputs) {
      const text = this.textOf(input);
      if (text === input.field.text) continue;
      const value = input.field.kind === "bool" ? text === "true" : parsed(input.field.kind, text);
      if (value !== undefined) found[name] = value;
    }
    return found;
  }

  reset() { for (const input of this.inputs.values()) { this.write(input, input.field.text); this.check(input); } }
}

// --- The controls -------------------------------------------------------------------------------

const SUGGESTED = ["loss is nan", "train_loss is nan", "client update_norm > 3", "client drift > 2", "failures >= 1", "always"];

class Desk {
  constructor(line) {
    this.line = line;
    this.head = {};
    this.story = { fields: [], checkpoints: [], armed: [] };
    this.python = pythonLine("the Python of this control");
    this.status = element("span", { class: "flip-status", role: "status" });
    this.alert = element("div", { class: "flip-alert" });
    this.pause = button("Pause", () => this.press(this.pauseCommand(), this.pause));
    this.number = element("input", { type: "number", min: 1, max: 9999, value: 1, "aria-label": "Rounds of a step", title: "Rounds of a step" });
    this.step = button("Step", () => this.press(this.stepCommand(), this.step));
    this.openers = ["set", "break", "fork", "stop"].map((name) => this.opener(name));
    const parts = [this.pause, element("span", { class: "flip-group" }, this.step, this.number), ...this.openers.map(({ key }) => key)];
    this.bar = element("div", { class: "flip-bar-row flip-desk", role: "toolbar", "aria-label": "Steer the run" }, ...parts, this.status, this.python.node);
    this.drawers = element("div", { class: "flip-drawers" }, ...this.openers.map(({ form }) => form));
    this.node = element("div", { class: "flip-steer" }, this.bar, this.alert, this.drawers);
    const codes = [[this.pause, () => this.pauseCommand()], [this.step, () => this.stepCommand()], [this.number, () => this.stepCommand()]];
    for (const [node, make] of codes) this.explain(node, make);
    this.number.addEventListener("input", () => this.python.show(this.code(this.stepCommand())));
    this.explained = () => this.pauseCommand();
    this.refresh();
  }

  // The line of Python follows the pointer and the focus, and stays to be copied.
  explain(node, make) {
    for (const event of ["pointerenter", "focus"]) {
      node.addEventListener(event, () => { this.explained = make; this.refresh(); });
    }
  }

  pauseCommand() { return { command: this.head.state === "paused" ? "resume" : "pause" }; }

  stepCommand() { return { command: "step", num_rounds: Math.max(1, Math.round(Number(this.number.value)) || 1) }; }

  code({ command, num_rounds, values, condition, at_round, ids }) {
    const first = {
      step: num_rounds > 1 ? [String(num_rounds)] : [],
      break_when: [JSON.stringify(condition ?? "")],
      fork: at_round ? [`at_round=${at_round}`] : [],
      clear: (ids ?? []).map((id) => JSON.stringify(id)),
    }[command] ?? [];
    if (command === "set" && !Object.keys(values).length) return "run.settings"; // nothing to set yet
    if (command === "set") return pythonSet(values);
    if (command !== "fork") return pythonCall(command, first, values);
    const all = Object.entries(values ?? {});
    const byKey = Object.fromEntries(all.filter(([key]) => !isName(key)));
    if (Object.keys(byKey).length) first.push(`overrides=${pythonDict(byKey)}`);
    return pythonCall(command, first, Object.fromEntries(all.filter(([key]) => isName(key))));
  }

  // --- drawers

  opener(name) {
    const drawer = { set: () => this.setDrawer(), break: () => this.breakDrawer(), fork: () => this.forkDrawer(), stop: () => this.stopDrawer() }[name]();
    const text = { set: "Set …", break: "Break when …", fork: "Fork …", stop: "Stop …" }[name];
    drawer.form.id = `flip-drawer-${(made += 1)}`;
    const key = button(text, () => { if (!isOff(key)) this.toggle(name); }, { "aria-expanded": "false", "aria-controls": drawer.form.id });
    this.explain(key, drawer.command);
    return { name, key, ...drawer };
  }

  toggle(name) {
    for (const each of this.openers) {
      const isOpen = each.name === name && each.form.hidden;
      each.form.hidden = !isOpen;
      each.key.setAttribute("aria-expanded", String(isOpen));
      if (isOpen) {
        each.open?.();
        each.first().focus();
        this.explained = each.command;
      }
    }
    this.refresh();
  }

  shut(name) {
    const each = this.openers.find((one) => one.name === name);
    if (!each.form.hidden) this.toggle(name);
    each.key.focus();
  }

  // A drawer: what it asks for, the same in Python, a button that does it, and what was refused.
  drawer(name, { title, body, submit, command, hint, first = () => null, check = () => true, ...more }) {
    const python = pythonLine(`the Python of ${title}`);
    const alert = element("div", { class: "flip-alert" });
    const go = button(submit, () => {}, { type: "submit", class: name === "stop" ? "flip-primary flip-danger" : "flip-primary" });
    const effect = element("small", { class: "flip-muted" });
    const form = element("form", { class: "flip-drawer", hidden: true, "aria-label": title },
      ...body, element("div", { class: "flip-bar-row" }, go, button(name === "stop" ? "Keep going" : "Close", () => this.shut(name)), effect, python.node), alert);
    const refresh = () => {
      enable(go, check());
      python.show(this.code(command()));
      say(effect, hint());
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!isOff(go)) this.press(command(), go, alert, more.done);
    });
    form.addEventListener("keydown", (event) => { if (event.key === "Escape") { this.shut(name); event.stopPropagation(); } });
    return { form, command, first: () => first() ?? go, refresh, ...more };
  }

  setDrawer() {
    const form = new SettingsForm(() => this.refresh());
    this.setForm = form;
    return this.drawer("set", {
      title: "Change settings",
      body: [form.node],
      submit: "Set",
      first: () => form.inputs.values().next().value?.control,
      command: () => ({ command: "set", values: form.values }),
      check: () => form.isGood && Object.keys(form.values).length > 0,
      hint: () => `from round ${this.head.next_round ?? 1}`,
      done: () => form.reset(),
    });
  }

  breakDrawer() {
    const id = `flip-list-${(made += 1)}`;
    const input = element("input", { type: "text", list: id, spellcheck: "false", placeholder: "loss is nan", "aria-label": "Condition to break on", oninput: () => this.refresh() });
    const list = element("datalist", { id }, ...SUGGESTED.map((value) => element("option", { value })));
    this.armed = element("ul", { class: "flip-armed", "aria-label": "Conditions in force" });
    return this.drawer("break", {
      title: "Break when a condition is met",
      body: [element("div", { class: "flip-field" }, input, list, element("small", {}, "A round that meets it pauses before its replies are aggregated; look at them with run.inspect().")), this.armed],
      submit: "Set break",
      first: () => input,
      command: () => ({ command: "break_when", condition: input.value.trim() }),
      check: () => input.value.trim() !== "",
      hint: () => "",
      done: () => { input.value = ""; },
    });
  }

  forkDrawer() {
    const id = `flip-list-${(made += 1)}`;
    const form = new SettingsForm(() => this.refresh());
    const round = element("input", { type: "number", min: 1, list: id, placeholder: "newest", oninput: () => this.refresh() });
    this.rounds = element("datalist", { id });
    this.forkForm = form;
    this.forked = element("p", { class: "flip-forked", role: "status" });
    const at = () => Number(round.value) || null;
    return this.drawer("fork", {
      title: "Fork the run",
      body: [element("div", { class: "flip-field flip-short" }, element("label", {}, "at round", round), this.rounds), form.node, this.forked],
      submit: "Fork",
      first: () => round,
      open: () => { // the newest checkpoint of a run that goes on is another one in a moment
        if (this.head.state !== "running") round.value ||= String(this.story.checkpoints.at(-1) ?? "");
      },
      command: () => ({ command: "fork", at_round: at(), values: form.values }),
      check: () => form.isGood && this.story.checkpoints.length > 0,
      hint: () => (this.story.checkpoints.length ? "a new run goes on from the checkpoint" : "no checkpoint yet"),
      done: ({ run_id }) => {
        form.reset();
        const line = pythonLine("the Python that finds the fork");
        line.show(`watch(lab.run(${JSON.stringify(run_id)}))`);
        this.forked.replaceChildren("The fork is under way: ", line.node);
      },
    });
  }

  stopDrawer() {
    return this.drawer("stop", {
      title: "Stop the run",
      body: [element("p", {}, "The run ends after the message under way. What it has is kept, and it can be resumed from its last checkpoint.")],
      submit: "Stop the run",
      command: () => ({ command: "stop" }),
      hint: () => "",
      done: () => this.shut("stop"),
    });
  }

  // --- commands

  // What is asked for is not shown as done: the run's events will tell.
  async press(command, node, alert = this.alert, done = () => {}) {
    if (isOff(node) || node.getAttribute("aria-busy") === "true") return;
    node.setAttribute("aria-busy", "true");
    alert.replaceChildren();
    const late = setTimeout(() => say(this.status, waitingFor(this.line.model)), 700);
    const answer = await this.line.ask(command);
    clearTimeout(late);
    say(this.status, answer.is_taken === false ? "waits until the run has started" : "");
    node.removeAttribute("aria-busy");
    if (answer.error) alert.replaceChildren(failure(answer.error, { role: "alert" }));
    else done(answer);
    this.refresh();
  }

  // --- what the events say

  show(head, story) {
    this.head = head;
    this.story = story;
    this.setForm.show(story.fields);
    this.forkForm.show(story.fields.filter(({ scopes }) => !scopes.includes("policy"))); // a fork has its parent's
    fill(this.rounds, story.checkpoints, () => story.checkpoints.map((value) => element("option", { value })));
    fill(this.armed, story.armed, () => story.armed.map(({ id, words }) => {
      const clear = button("Clear", () => this.press({ command: "clear", ids: [id] }, clear), { class: "flip-quiet", "aria-label": `Clear: ${words}` });
      this.explain(clear, () => ({ command: "clear", ids: [id] }));
      return element("li", {}, words, " ", clear);
    }));
    this.refresh();
  }

  refresh() {
    const { state, is_final } = this.head;
    say(this.pause, state === "paused" ? "Resume" : "Pause");
    enable(this.pause, ["running", "paused", "starting"].includes(state));
    enable(this.step, ["running", "paused"].includes(state));
    for (const { name, key } of this.openers) enable(key, name === "fork" || !is_final);
    for (const each of this.openers) each.refresh();
    this.python.node.hidden = this.openers.some(({ form }) => !form.hidden); // a drawer has its own
    if (this.explained) this.python.show(this.code(this.explained()));
  }
}
