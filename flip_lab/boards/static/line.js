// --- Questions and commands to Python: the page's end of flip_lab/widgets/line.py ---------------

const TARGET = "flip_lab.control_room"; // as in line.py
const LINE_PATIENCE_MS = 4000;

// A comm of its own, which the kernel reads in a subshell while a cell runs; where there are no
// subshells the same messages go by the widget, and are answered once the kernel is free.
class Line {
  constructor(model) {
    this.model = model;
    this.asked = new Map();
    this.name = Math.random().toString(36).slice(2, 10); // every view of a widget hears its answers
    this.numAsked = 0;
    this.hear = (answer) => {
      const then = this.asked.get(answer.ticket);
      this.asked.delete(answer.ticket);
      if (then) then(answer);
    };
    model.on("msg:custom", this.hear);
    this.opened = this.open().catch(() => null);
  }

  async open() {
    const kernel = this.model.widget_manager?.kernel;
    await kernel?.info;
    if (!kernel?.supportsSubshells || typeof kernel.createComm !== "function") return null;
    const comm = kernel.createComm(TARGET);
    const late = new Promise((_, fail) => { setTimeout(() => fail(new Error("no subshell")), LINE_PATIENCE_MS); });
    const ready = new Promise((done, fail) => {
      comm.onMsg = ({ content: { data } }) => { if (data.ready) done(); else this.hear(data); };
      comm.onClose = () => { this.opened = Promise.resolve(null); fail(new Error("closed")); };
    });
    ready.catch(() => {});
    try {
      await Promise.race([comm.subshellStarted, late]);
      comm.open({ key: this.model.get("key") });
      await Promise.race([ready, late]);
    } catch (error) {
      if (!comm.isDisposed) comm.dispose();
      throw error;
    }
    this.comm = comm;
    return comm;
  }

  async ask(question) {
    this.numAsked += 1;
    const ticket = `${this.name}-${this.numAsked}`;
    const answer = new Promise((done) => { this.asked.set(ticket, done); });
    const comm = await this.opened;
    if (comm && !comm.isDisposed) comm.send({ ...question, ticket });
    else this.model.send({ ...question, ticket });
    return answer;
  }

  leave() {
    this.model.off("msg:custom", this.hear);
    this.opened.then(() => { if (this.comm && !this.comm.isDisposed) this.comm.close(); });
  }
}
