
// --- The widget -------------------------------------------------------------------------------

const PHASES = { train: "training", evaluate: "evaluating", query: "asked" };

class View {
  constructor(model, root) {
    this.model = model;
    this.root = root;
    this.line = new Line(model);
    this.build();
    this.handlers = [
      ["head", () => { this.showHead(); this.showClientsOnce(); }], ["notes", () => this.showNotes()], ["curves", () => this.showCurves()],
      ...["clients", "cells", "nodes"].map((part) => [part, () => this.showClientsOnce()]),
      ["story", () => { this.showHead(); this.showDeeds(); }], ["usage", () => this.showUsage()], ["log", () => this.showLog()],
    ];
    this.handlers = this.handlers.map(([part, draw]) => [`change:${part}`, draw]);
    for (const [event, draw] of this.handlers) { model.on(event, draw); draw(); }
    this.clock = setInterval(() => this.drawClock(), 1000);
  }

  leave() {
    clearInterval(this.clock);
    for (const [event, draw] of this.handlers) this.model.off(event, draw);
    for (const part of [this.line, this.charts, this.usage, this.map, this.table]) part.leave();
  }

  // --- parts

  build() {
    this.desk = new Desk(this.line);
    this.desk.node.hidden = !this.model.get("can_steer");
    this.notes = element("div", { class: "flip-notes" });
    this.charts = new ChartGrid((x, short) => (short ? String(x) : `round ${x}`));
    this.hidden = element("p", { class: "flip-hidden" });
    this.totals = element("span", { class: "flip-totals" });
    this.back = pythonLine("how to come back to the run");
    const foot = element("div", { class: "flip-foot" }, this.totals, element("span", { class: "flip-back" }, "Reattach: ", this.back.node));
    const curves = element("section", { "aria-label": "Metrics" }, this.charts.node, this.hidden);
    this.root.append(this.buildHead(), this.desk.node, this.buildProgress(), this.notes, curves, this.buildTabs(), foot);
  }

  buildHead() {
    this.name = element("span", { class: "flip-name" });
    this.id = element("code");
    this.badge = element("span", { class: "flip-badge", role: "status", "aria-live": "polite" });
    this.why = element("span", { class: "flip-why" });
    this.inspect = pythonLine("the Python that shows the replies");
    this.inspect.show("run.inspect()");
    return element("div", { class: "flip-head" }, this.name, this.id, this.badge, this.why, this.inspect.node);
  }

  buildProgress() {
    this.filled = element("div", { class: "flip-fill" });
    this.bar = element("div", { class: "flip-bar", role: "progressbar", "aria-label": "Progress of the run", "aria-valuemin": 0, "aria-valuemax": 100 }, this.filled);
    [this.round, this.elapsed, this.eta, this.percent] = ["round", "elapsed", "eta", "percent"].map((name) => element("span", { class: `flip-${name}` }));
    return element("div", {}, this.bar, element("p", { class: "flip-line" }, this.round, this.elapsed, this.eta, this.percent));
  }

  buildTabs() {
    const panels = [["Clients", this.buildClients()], ["History", this.buildDeeds()], ["Log", this.buildLog()], ["Resources", this.buildUsage()]];
    const list = element("div", { class: "flip-tabs", role: "tablist", "aria-label": "More about the run" });
    this.tabs = panels.map(([text, panel], at) => {
      const id = `flip-tab-${(made += 1)}`;
      const tab = button(text, () => this.openTab(at), { role: "tab", id, "aria-controls": `${id}-panel` });
      panel.id = `${id}-panel`;
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", id);
      list.append(tab);
      return { tab, panel };
    });
    list.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      const now = this.tabs.findIndex(({ tab }) => tab === document.activeElement);
      this.openTab((now + by + this.tabs.length) % this.tabs.length);
      this.tabs[this.open].tab.focus();
      event.preventDefault();
    });
    this.openTab(0);
    return element("div", { class: "flip-more" }, list, ...panels.map(([, panel]) => panel));
  }

  openTab(at) {
    this.open = at;
    this.tabs.forEach(({ tab, panel }, place) => {
      tab.setAttribute("aria-selected", String(place === at));
      tab.tabIndex = place === at ? 0 : -1;
      panel.hidden = place !== at;
    });
    if (at === 2) this.showLog();
    if (at === 3) this.showUsage();
  }

  // --- head and progress

  showHead() {
    const head = this.model.get("head");
    if (this.root.dataset.state !== head.state) {
      this.root.dataset.state = head.state;
      this.badge.textContent = head.state;
    }
    this.root.setAttribute("aria-label", `Run ${head.name || head.run_id}`);
    say(this.name, head.name);
    this.name.hidden = !head.name;
    say(this.id, head.run_id);
    say(this.why, head.state_words);
    this.why.hidden = !head.state_words;
    this.inspect.node.hidden = !head.is_broken; // the round's replies can be looked at
    say(this.totals, head.totals);
    this.back.show(head.hint);
    this.drawBar(head);
    this.drawClock();
    this.desk.show(head, this.model.get("story"));
    this.drawChosen();
  }

  drawBar(head) {
    const known = head.fraction !== null;
    const percent = known ? Math.floor(head.fraction * 100 + 0.5) : 0;
    this.bar.classList.toggle("flip-unknown", !known && head.state === "running");
    this.bar.setAttribute("aria-valuetext", head.round_words);
    if (known) this.bar.setAttribute("aria-valuenow", String(percent));
    else this.bar.removeAttribute("aria-valuenow");
    this.filled.style.width = known ? `${percent}%` : head.state === "running" ? "" : "0%";
    say(this.percent, known ? `${percent} %` : "");
    say(this.round, head.round_words);
  }

  // Between two looks the clock goes on; the run's last event says where it stood.
  drawClock() {
    const head = this.model.get("head");
    const ticking = head.started_s !== null && ["starting", "running"].includes(head.state);
    const now = ticking ? Math.max(head.elapsed_s, Date.now() / 1000 - head.started_s) : head.elapsed_s;
    say(this.elapsed, head.started_s === null ? "" : `${durationText(now)} elapsed`);
    const left = head.eta_s === null ? null : Math.max(0, head.eta_s - (now - head.elapsed_s));
    say(this.eta, left === null ? "" : `about ${durationText(left)} left`);
  }

  showNotes() {
    const { error, watch_error, warnings, num_warnings } = this.model.get("notes");
    fill(this.notes, [error, watch_error, warnings, num_warnings], () => [
      ...[error, watch_error].filter(Boolean).map((each) => failure(each)),
      ...(warnings.length ? [this.warnings(warnings, num_warnings)] : []),
    ]);
  }

  warnings(warnings, all) {
    const title = all > warnings.length ? `Newest of ${all} warnings` : "Warnings";
    return element("div", { class: "flip-note flip-warnings" }, element("strong", {}, title), ...warnings.map((each) => element("p", {}, each)));
  }

  // --- curves

  showCurves() {
    const { curves, hidden, marks } = this.model.get("curves");
    this.charts.node.hidden = !curves.length;
    this.charts.show(curves.map(({ name, phase, scope, value, best, diverged, points }) => ({
      key: `${phase}/${scope}/${name}`,
      label: ["central", "server"].includes(scope) ? `${name} (${scope})` : name,
      title: `${name}, ${phase}, ${scope}`,
      scope,
      rest: best, value, diverged, points,
    })), marks);
    say(this.hidden, `and ${hidden} more metrics`);
    this.hidden.hidden = !hidden;
  }

  buildUsage() {
    this.usage = new ChartGrid((x, short) => (short ? durationText(x).replace(" min", "").replace(" h", "") : `after ${durationText(x)}`));
    this.processes = element("p", { class: "flip-muted" });
    return element("div", {}, this.usage.node, this.processes);
  }

  showUsage() {
    const { curves, num_processes } = this.model.get("usage");
    this.usage.show(curves.map(({ label, unit, value, points }) => (
      { key: label, label, title: `${label}, ${unit}`, value, rest: unit, points, scope: "", diverged: false }
    )), []);
    const words = num_processes === 1 ? "1 process" : `${num_processes} processes`;
    say(this.processes, curves.length ? `${words} of the run, measured every few seconds` : "Nothing measured yet.");
  }

  // --- clients

  buildClients() {
    const ask = async (cells) => (await this.line.ask({ cells })).rows ?? [];
    this.chosen = [];
    this.map = new ClientMap({ ask, choose: (cells) => { this.chosen = cells; this.drawChosen(); this.table.draw(); } });
    this.table = new ClientTable({
      ask,
      toggle: (at) => this.map.select(at, true),
      isChosen: (at) => this.map.selected.has(at),
      kindOf: (at) => (this.map.states[at] === RUNNING ? this.atWork() : KINDS[this.map.states[at]][0]),
      nameOf: (at) => `partition ${this.nameOf(at)}`,
    });
    this.table.node.hidden = true;
    this.asTable = button("Table", () => {
      const isTable = this.table.node.hidden;
      this.table.node.hidden = !isTable;
      this.map.host.hidden = this.map.words.hidden = isTable;
      this.asTable.setAttribute("aria-pressed", String(isTable));
      this.showClients();
    }, { "aria-pressed": "false", class: "flip-quiet" });
    this.cohort = element("p", { class: "flip-cohort" });
    this.exclude = button("Leave out", () => this.leaveOut("exclude", this.exclude));
    this.include = button("Take in again", () => this.leaveOut("include", this.include));
    this.chosenWords = element("span");
    this.chosenPython = pythonLine("the Python of leaving out");
    this.chosenAlert = element("div", { class: "flip-alert" });
    for (const [node, command] of [[this.exclude, "exclude"], [this.include, "include"]]) {
      for (const event of ["pointerenter", "focus"]) node.addEventListener(event, () => { this.chosenCommand = command; this.drawChosen(); });
    }
    const none = button("Select none", () => { this.map.clear(); this.map.node.focus(); }, { class: "flip-quiet" });
    this.choice = element("div", { class: "flip-bar-row flip-choice", hidden: true, role: "group", "aria-label": "Selected clients" },
      this.chosenWords, this.exclude, this.include, none, this.chosenPython.node);
    const top = element("div", { class: "flip-bar-row" }, this.map.legend, this.asTable);
    return element("div", {}, this.cohort, top, this.map.host, this.table.node, this.map.words, this.choice, this.chosenAlert);
  }

  // In a pause most of them wait; who still works is not known here.
  atWork() {
    if (this.model.get("head").state === "paused") return "not done";
    return PHASES[this.phase] ?? "at work";
  }

  nameOf(at) { return this.model.get("nodes").names[at] ?? String(at); }

  // Three parts that mostly come together.
  showClientsOnce() {
    if (this.clientsSoon) return;
    this.clientsSoon = true;
    queueMicrotask(() => { this.clientsSoon = false; this.showClients(); });
  }

  showClients() {
    const { counts, words, phase } = this.model.get("clients");
    const { count } = this.model.get("nodes");
    this.phase = phase;
    say(this.cohort, count ? words : "No client was asked yet.");
    this.map.show(unpacked(this.model.get("cells"), count), counts, this.atWork());
    if (!this.table.node.hidden) this.table.show(count);
    for (const part of [this.map.legend, this.asTable]) part.hidden = !count;
    this.drawChosen();
  }

  drawChosen() {
    const { chosen, map } = this;
    if (!this.choice) return;
    this.choice.hidden = !chosen.length || !this.model.get("can_steer");
    if (this.choice.hidden) return;
    const head = this.model.get("head");
    const out = chosen.filter((at) => map.states[at] === LEFT_OUT).length;
    const who = chosen.length === 1 ? `client ${this.nameOf(chosen[0])}` : `${chosen.length} clients`;
    say(this.chosenWords, `${who} · from round ${head.is_broken ? head.server_round : head.next_round}:`);
    enable(this.exclude, out < chosen.length && !head.is_final);
    enable(this.include, out > 0 && !head.is_final);
    const command = this.chosenCommand ?? (out === chosen.length ? "include" : "exclude");
    this.chosenPython.show(pythonCall(command, chosen.map((at) => this.nameOf(at))));
  }

  leaveOut(command, node) {
    this.desk.press({ command, cells: this.chosen }, node, this.chosenAlert, () => this.map.clear());
  }

  // --- what was done, and what was printed

  buildDeeds() {
    this.deeds = element("ol", { class: "flip-deeds", tabindex: 0, "aria-label": "What was done, newest first" });
    return element("div", {}, this.deeds);
  }

  showDeeds() {
    const { deeds, num_deeds } = this.model.get("story");
    fill(this.deeds, [deeds, num_deeds], () => {
      const more = num_deeds - deeds.length;
      const lines = [...deeds].reverse().map((deed) => this.deed(deed));
      if (!num_deeds) lines.push(element("li", { class: "flip-muted" }, "Nobody has steered this run."));
      if (more) lines.push(element("li", { class: "flip-muted" }, `and ${more} earlier`));
      return lines;
    });
  }

  deed({ time_s, author, words, from_round, refused }) {
    const when = new Date(time_s * 1000).toLocaleTimeString([], { hour12: false });
    const effect = from_round && !refused ? `from round ${from_round}` : "";
    const line = element("li", {}, element("time", {}, when), element("span", {}, author), element("span", {}, words), element("span", { class: "flip-muted" }, effect));
    if (refused) line.lastChild.replaceChildren(element("strong", { class: "flip-refused" }, "refused"), ` ${refused.code} ${refused.what}`);
    return line;
  }

  buildLog() {
    this.lines = element("pre", { class: "flip-log", tabindex: 0, role: "log", "aria-live": "off", "aria-label": "End of the run's log" });
    this.follow = element("input", { type: "checkbox", checked: true, onchange: () => this.showLog() });
    const label = element("label", { class: "flip-box" }, this.follow, "Follow");
    return element("div", {}, this.lines, element("div", { class: "flip-bar-row" }, label, element("small", { class: "flip-muted" }, "the last 200 lines; all of them: ", element("code", {}, "run.logs()"))));
  }

  showLog() {
    if (!this.follow?.checked && this.lines.textContent) return;
    const { lines } = this.model.get("log");
    say(this.lines, lines.length ? lines.join("\n") : "Nothing was printed yet.");
    this.lines.scrollTop = this.lines.scrollHeight;
  }
}

export default { render: shownBy(View, "monitor", null) };
