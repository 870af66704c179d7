// One parameter: its slider, its field, and what is really in force.

/** After this long without an answer the value is called unconfirmed. */
const ANSWER_MS = 3000;
/** While a slider moves, at most one message in this time. */
const PACE_MS = 60;
/** An answer with another value may still be one to an earlier message; after this long it is taken for the last one's. */
const SETTLE_MS = 500;
/** A refusal is shown for this long. */
const REFUSAL_MS = 10_000;

/** The number that a person typed, with a decimal point or a decimal comma; NaN where it is none. */
export function parse(words) {
  const text = words.trim().replace(",", ".");
  return /^[+-]?(\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : NaN;
}

/** One row: slider, number field, reset, and the state of the value. */
export class Row {
  #about;
  #send;
  #element;
  #label;
  #track;
  #help;
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
  /** What is wrong with what stands in the field, or null. */
  #mistake = null;
  /** What the page wrote into the field last. */
  #written = "";
  /** Why the value in force may be another one by now, or null. */
  #outdated = null;
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

  /** What the row says of its parameter; said anew where a server declares it otherwise. */
  #describeItself() {
    const { name, min, max, help, unit } = this.#about;
    const title = name.replaceAll("_", " ");
    const back = this.#words(this.#about.default);
    const range = `${this.format(min)} to ${this.#words(max)}, default ${back}`;
    this.#element.title = `${help}\n${range}`;
    this.#label.replaceChildren(title, ...(unit ? [make("small", { textContent: unit })] : []));
    this.#field.setAttribute("aria-label", `${title}, exact value`);
    this.#reset.title = `Back to ${back}`;
    this.#reset.setAttribute("aria-label", `Reset ${title} to ${back}`);
    Object.assign(this.#slider, { min, max, step: this.#step });
    this.#track.style.setProperty("--default", (this.#about.default - min) / (max - min));
    this.#help.textContent = `${help}; ${range}`;
  }

  #build() {
    const { category, name } = this.#about;
    const id = `${category}-${name}`;
    this.#element = make("div", { className: "parameter" });
    this.#label = make("label", { htmlFor: id });
    this.#field = make("input", { type: "text", inputMode: "decimal", autocomplete: "off", spellcheck: false, id: `${id}-value` });
    this.#field.setAttribute("aria-describedby", `${id}-help ${id}-status`);
    this.#reset = make("button", { type: "button", className: "reset" });
    this.#slider = make("input", { type: "range", id });
    this.#slider.setAttribute("aria-describedby", `${id}-help ${id}-status`);
    this.#track = make("div", { className: "track" });
    const track = this.#track;
    const mark = make("i", { className: "default" });
    const force = make("i", { className: "force" });
    track.append(mark, this.#slider, force);
    this.#status = make("span", { className: "state", id: `${id}-status` });
    this.#status.setAttribute("role", "status");
    this.#help = make("span", { className: "hidden", id: `${id}-help` });
    this.#element.append(this.#label, this.#field, this.#reset, track, this.#status, this.#help);
    this.#describeItself();

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
    this.#field.addEventListener("input", () => this.#accuse(null));
    this.#field.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.#written = this.#field.value;
      this.#accuse(null);
      this.#put(this.#current);
    });
    // Somebody may have changed the value while nothing was typed here.
    this.#field.addEventListener("blur", () => this.#mistake ?? this.#put(this.#current));
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

  /** The same with its unit. */
  #words(value) {
    return `${this.format(value)} ${this.#about.unit ?? ""}`.trim();
  }

  reset() {
    this.#ask(this.#about.default, true);
  }

  #typed() {
    const value = parse(this.#field.value);
    const { min, max } = this.#about;
    const found = `${this.format(min)} to ${this.#words(max)}, found "${this.#field.value.trim().slice(0, 20)}"`;
    if (Number.isNaN(value)) return this.#accuse(`a number is needed: ${found}`);
    if (value < min || value > max) return this.#accuse(`out of range: ${found}`);
    this.#ask(value, true);
  }

  /** Says beside the field what is wrong with what stands in it. */
  #accuse(mistake) {
    this.#mistake = mistake;
    if (mistake) this.#field.setAttribute("aria-invalid", "true");
    else this.#field.removeAttribute("aria-invalid");
    this.draw();
  }

  /** Asks the system for `value`: at once if `last`, otherwise at a bounded pace. */
  #ask(value, last) {
    clearTimeout(this.#later);
    const wait = this.#sentAt + PACE_MS - performance.now();
    if (last && this.#asked?.value === value && this.#sentAt >= this.#asked.at) return;
    this.#refusal = this.#changed = this.#unconfirmed = null;
    this.#asked = { value, at: performance.now() };
    this.#accuse(null);
    this.#write(value);
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

  /** What the server that applies it says: its range, default, unit, help and the value in force. */
  declared(about) {
    const { min, max, unit, help, value } = about;
    const known = this.#about;
    if (known.min !== min || known.max !== max || known.default !== about.default || known.unit !== unit || known.help !== help) {
      this.#about = about;
      this.#step = stepOf(about);
      this.#describeItself();
    }
    if (value === this.#inForce) return;
    this.#inForce = value;
    if (this.#asked && same(this.#asked.value, value, about)) this.#asked = null;
    this.#follow();
  }

  /** Why nobody says any more what is in force; null where its server does. */
  outdated(why) {
    if (why === this.#outdated) return;
    this.#outdated = why;
    this.draw();
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
    // What somebody is typing stays; what nobody has touched follows, and is seen to.
    if (this.#field.value === this.#written) this.#write(value);
    const { min, max } = this.#about;
    this.#element.style.setProperty("--value", Math.min(1, Math.max(0, (value - min) / (max - min))));
  }

  #write(value) {
    const words = this.format(value);
    if (words !== this.#field.value && document.activeElement === this.#field && !this.#asked) {
      this.#field.classList.remove("followed");
      void this.#field.offsetWidth; // starts the animation again
      this.#field.classList.add("followed");
    }
    this.#field.value = this.#written = words;
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
    const known = this.#inForce === null ? "" : this.#words(this.#inForce);
    if (this.#outdated) return ["unknown", known ? `not known: ${this.#outdated}; it was ${known}` : `not known: ${this.#outdated}`];
    const inForce = known && `in force ${known}`;
    if (this.#mistake) return ["refused", `${this.#mistake}${inForce && ` · ${inForce}`}`];
    if (this.#asked) return ["pending", `asked for ${this.format(this.#asked.value)}${inForce && ` · ${inForce}`}`];
    if (this.#refusal) return [this.#refusal.kind, `${this.#refusal.words}${inForce && ` · ${inForce}`}`];
    if (this.#unconfirmed !== null) return ["unconfirmed", `${this.format(this.#unconfirmed)} sent, not confirmed`];
    return inForce ? ["confirmed", inForce] : ["unknown", "not known"];
  }
}

export function make(tag, properties) {
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
