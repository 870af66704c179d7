// Who may command: a warning where everybody in a network can, and who has the lease.

export class Commands {
  #element;
  #warning = null;
  #lease = null;
  #until = -Infinity;

  constructor(element) {
    this.#element = element;
  }

  /** The `commands` of a status message: `{warning, lease: {holder, left_s}}`, each of which may be null. */
  show(commands) {
    this.#warning = typeof commands?.warning === "string" ? commands.warning : null;
    const lease = commands?.lease;
    this.#lease = typeof lease?.holder === "string" && typeof lease.left_s === "number" ? lease.holder : null;
    this.#until = performance.now() + 1000 * (lease?.left_s ?? 0);
    this.draw();
  }

  forget() {
    this.show(null);
  }

  draw() {
    const left = (this.#until - performance.now()) / 1000;
    const lease = this.#lease !== null && left > 0
      ? `“${this.#lease}” has the lease for commands for another ${Math.ceil(left)} s; others can only make an emergency stop`
      : null;
    const words = [this.#warning, lease].filter((part) => part !== null).join(" · ");
    this.#element.hidden = words === "";
    this.#element.dataset.kind = this.#warning ? "warn" : "note";
    if (this.#element.textContent !== words) this.#element.textContent = words;
  }
}
