// A slider for each parameter, and what is really in force.

/** After this long without an answer the value is called unconfirmed. */
const ANSWER_MS = 3000;
/** While a slider moves, at most one message in this time. */
const PACE_MS = 60;
/** An answer with another value may still be one to an earlier message; after this long it is taken for the last one's. */
const SETTLE_MS = 500;
/** A refusal is shown for this long. */
const REFUSAL_MS = 10_000;

const TITLES = { detection: "Detection", decision: "Decision" };

/** One row: slider, number field, reset, and the state of the value. */
class Row {
  #about;
  #send;
  #element;
  #slider;
  #field;
  #status;
  #reset;
  #step;
  /** The value that the system reported, or null. */
  #inForce = null;
  /** What was asked for and is not answered: `{ value, at }` or null. */
  #asked = null;
  /** What was asked for and not put in force, and why: `{ words, kind, at }` or null. */
  #refusal = null;
  /** The last answer that put another value in force than the one asked for: `{ reason, at }` or null. */
  #changed = null;
  /** What was sent to a broker that does not answer, or null. */
  #unconfirmed = null;
  #held = false;
  #sentAt = -Infinity;
  #later = null;

  constructor(about, send) {
    this.#about = about;
    this.#send = send;
    this.#step = stepOf(about);
    this.#build();
    this.#put(about.default);
    this.draw();
  }

  get element() {
    return this.#element;
  }

  #build() {
    const { category, name, min, max, help } = this.#about;
    const id = `${category}-${name}`;
    const title = name.replaceAll("_", " ");
    const range = `${this.format(min)} to ${this.format(max)}, default ${this.format(this.#about.default)}`;
    this.#element = make("div", { className: "parameter", title: `${help}\n${range}` });
    const label = make("label", { htmlFor: id, textContent: title });
    this.#field = make("input", { type: "number", min, max, step: "any", inputMode: "decimal" });
    this.#field.setAttribute("aria-label", `${title}, exact value`);
    this.#reset = make("button", { type: "button", className: "reset", title: `Back to ${this.format(this.#about.default)}` });
    this.#reset.setAttribute("aria-label", `Reset ${title} to ${this.format(this.#about.default)}`);
    this.#slider = make("input", { type: "range", id, min, max, step: this.#step });
    this.#slider.setAttribute("aria-describedby", `${id}-help ${id}-status`);
    const track = make("div", { className: "track" });
    track.style.setProperty("--default", (this.#about.default - min) / (max - min));
    const mark = make("i", { className: "default" });
    const force = make("i", { className: "force" });
    track.append(mark, this.#slider, force);
    this.#status = make("span", { className: "state", id: `${id}-status` });
    this.#status.setAttribute("role", "status");
    const description = make("span", { className: "hidden", id: `${id}-help`, textContent: `${help}; ${range}` });
    this.#element.append(label, this.#field, this.#reset, track, this.#status, description);

    this.#slider.addEventListener("pointerdown", () => (this.#held = true));
    for (const end of ["pointerup", "pointercancel", "blur"]) {
      this.#slider.addEventListener(end, () => {
        this.#held = false;
        this.draw();
      });
    }
    this.#slider.addEventListener("input", () => this.#ask(Number(this.#slider.value), false));
    this.#slider.addEventListener("change", () => this.#ask(Number(this.#slider.value), true));
    this.#field.addEventListener("change", () => this.#typed());
    this.#field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#put(this.#current);
    });
    this.#reset.addEventListener("click", () => this.reset());
  }

  /** The value that the row shows. */
  get #current() {
    return this.#asked?.value ?? this.#unconfirmed ?? this.#inForce ?? this.#about.default;
  }

  format(value) {
    const digits = this.#step >= 1 ? 0 : this.#step >= 0.01 ? 2 : 3;
    const short = value.toFixed(digits);
    // A value that was typed may have more digits than the slider's steps.
    return Number(short) === value ? short : String(Number(value.toPrecision(6)));
  }

  reset() {
    this.#ask(this.#about.default, true);
  }

  #typed() {
    const value = Number(this.#field.value);
    const { min, max } = this.#about;
    if (this.#field.value.trim() === "" || !Number.isFinite(value)) return this.#put(this.#current);
    this.#ask(Math.min(max, Math.max(min, value)), true);
  }

  /** Asks the system for `value`: at once if `last`, otherwise at a bounded pace. */
  #ask(value, last) {
    clearTimeout(this.#later);
    const wait = this.#sentAt + PACE_MS - performance.now();
    if (last && this.#asked?.value === value && this.#sentAt >= this.#asked.at) return;
    this.#refusal = this.#changed = this.#unconfirmed = null;
    this.#asked = { value, at: performance.now() };
    this.#put(value);
    if (last || wait <= 0) this.#deliver();
    else this.#later = setTimeout(() => this.#deliver(), wait);
    this.draw();
  }

  #deliver() {
    if (!this.#asked) return;
    this.#asked.at = this.#sentAt = performance.now();
    const { category, name } = this.#about;
    if (!this.#send({ type: "parameter", category, parameter: name, value: this.#asked.value })) {
      this.refuse("not sent: no connection to the viewer");
    }
  }

  /** The system's answer: what it accepted or refused, and the value in force. */
  answer({ value, accepted, confirmed, reason }) {
    if (confirmed === false && accepted !== false) return this.known({ value, confirmed });
    const known = typeof value === "number" && Number.isFinite(value);
    const why = typeof reason === "string" && reason ? reason : null;
    if (known) this.#inForce = value;
    if (accepted === false) return this.refuse(why ?? "refused");
    this.#unconfirmed = this.#refusal = this.#changed = null;
    if (known && this.#asked) {
      if (same(this.#asked.value, value, this.#about)) this.#asked = null;
      else this.#changed = { reason: why, at: performance.now() };
    }
    this.#follow();
  }

  /** The value that was asked for will not come. */
  refuse(words, kind = "refused") {
    clearTimeout(this.#later);
    this.#asked = this.#unconfirmed = this.#changed = null;
    this.#refusal = { words, kind, at: performance.now() };
    this.#follow();
  }

  /** Forgets what a lost connection left open. */
  disconnected() {
    if (this.#asked) this.refuse("connection lost before an answer came");
  }

  /** The values in force of a new connection; none means that this viewer has not heard of any. */
  known(status) {
    this.#inForce = null;
    this.#unconfirmed = null;
    if (status && typeof status.value === "number") {
      if (status.confirmed === false) this.#unconfirmed = status.value;
      else this.#inForce = status.value;
    }
    if (this.#asked && same(this.#asked.value, this.#unconfirmed ?? NaN, this.#about)) this.#asked = null;
    this.#follow();
  }

  /** Gives up on an answer that does not come. */
  tick() {
    const now = performance.now();
    if (this.#refusal && now - this.#refusal.at > REFUSAL_MS) {
      this.#refusal = null;
      this.draw();
    }
    if (!this.#asked || this.#held) return;
    const asked = `asked for ${this.format(this.#asked.value)}`;
    if (this.#changed && now - Math.max(this.#changed.at, this.#asked.at) > SETTLE_MS) {
      return this.refuse(this.#changed.reason ?? asked, "changed");
    }
    if (now - this.#asked.at < ANSWER_MS) return;
    if (this.#inForce !== null) return this.refuse(`no answer, ${asked}`);
    this.#unconfirmed = this.#asked.value;
    this.#asked = null;
    this.#follow();
  }

  #follow() {
    if (!this.#held && !this.#asked) this.#put(this.#current);
    this.draw();
  }

  #put(value) {
    this.#slider.value = value;
    this.#slider.setAttribute("aria-valuetext", this.format(value));
    if (document.activeElement !== this.#field || this.#asked) this.#field.value = this.format(value);
    const { min, max } = this.#about;
    this.#element.style.setProperty("--value", Math.min(1, Math.max(0, (value - min) / (max - min))));
  }

  draw() {
    const [kind, words] = this.#describe();
    this.#element.dataset.kind = kind;
    if (this.#status.textContent !== words) this.#status.textContent = words;
    this.#reset.classList.toggle("idle", same(this.#current, this.#about.default, this.#about));
    const { min, max } = this.#about;
    this.#element.classList.toggle("reported", this.#inForce !== null);
    this.#element.style.setProperty("--force", Math.min(1, Math.max(0, ((this.#inForce ?? min) - min) / (max - min))));
  }

  #describe() {
    const inForce = this.#inForce === null ? "" : `in force ${this.format(this.#inForce)}`;
    if (this.#asked) return ["pending", `asked for ${this.format(this.#asked.value)}${inForce && ` · ${inForce}`}`];
    if (this.#refusal) return [this.#refusal.kind, `${this.#refusal.words}${inForce && ` · ${inForce}`}`];
    if (this.#unconfirmed !== null) return ["unconfirmed", `${this.format(this.#unconfirmed)} sent, not confirmed`];
    return inForce ? ["confirmed", inForce] : ["unknown", "not known"];
  }
}

/** All rows, in groups. */
export class Parameters {
  #root;
  #send;
  #rows = new Map();

  /** `send(message)` tells whether the message left. */
  constructor(root, send) {
    this.#root = root;
    this.#send = send;
    setInterval(() => this.#each((row) => row.tick()), 250);
  }

  /** Builds the rows from the viewer's table, once. */
  build(categories, table) {
    if (this.#rows.size) return;
    for (const category of categories) {
      const rows = table.filter((about) => about.category === category).map((about) => {
        const row = new Row(about, this.#send);
        this.#rows.set(`${category} ${about.name}`, row);
        return row;
      });
      const title = TITLES[category] ?? category;
      const group = make("section", { className: "group" });
      group.setAttribute("aria-label", `${title} parameters`);
      const all = make("button", { type: "button", className: "quiet", textContent: "Reset all" });
      all.setAttribute("aria-label", `Reset all ${title} parameters`);
      all.addEventListener("click", () => rows.forEach((row) => row.reset()));
      const head = make("header", {});
      head.append(make("h3", { textContent: title }), all);
      group.append(head, ...rows.map((row) => row.element));
      this.#root.append(group);
    }
  }

  /** The `data` of a `values` message. */
  values(statuses) {
    const known = new Map(statuses.map((status) => [`${status.category} ${status.parameter}`, status]));
    for (const [key, row] of this.#rows) row.known(known.get(key));
  }

  /** The `data` of a parameter_status message. */
  status(data) {
    this.#rows.get(`${data?.category} ${data?.parameter}`)?.answer(data);
  }

  /** An `error` message about a parameter; false where it is about none of ours. */
  error({ category, parameter, message }) {
    const row = this.#rows.get(`${category} ${parameter}`);
    row?.refuse(message);
    return Boolean(row);
  }

  disconnected() {
    this.#each((row) => row.disconnected());
  }

  #each(act) {
    for (const row of this.#rows.values()) act(row);
  }
}

function make(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

/** A step that gives the slider a hundred or more positions, in whole numbers where the range is wide. */
function stepOf({ min, max }) {
  const range = max - min;
  return range > 20 ? 1 : range > 0.5 ? 0.01 : range > 0.25 ? 0.005 : 0.001;
}

/** Whether two values are the same but for the rounding of smaller floats on the way. */
function same(a, b, { min, max }) {
  return Math.abs(a - b) <= 1e-6 * Math.max(1, max - min);
}
