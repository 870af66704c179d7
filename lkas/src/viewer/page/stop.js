// The emergency stop: asked for until the vehicle itself says that it is latched, and latched until it is released.

/** How often it is asked for, until the vehicle says that it is latched. */
const AGAIN_MS = 250;
/** A vehicle that was not heard of for this long may be in any state. */
const STALE_MS = 500;
const WORDS = { idle: "Emergency stop", asked: "Stop asked for", latched: "Stop latched", unknown: "Emergency stop" };

export class EmergencyStop {
  #button;
  #release;
  #send;
  /** When a person asked for it, while the vehicle has not said that it is latched; null otherwise. */
  #askedAt = null;
  #sentAt = -Infinity;
  /** What the vehicle said last: true, false, or null where it does not say. */
  #latched = null;
  #latchedAt = -Infinity;
  /** What was answered to the last request. */
  #answer = "";

  /** `send(action)` tells whether the request left. */
  constructor(button, release, send) {
    this.#button = button;
    this.#release = release;
    this.#send = send;
    button.addEventListener("click", () => this.ask());
    release.addEventListener("click", () => this.#letGo());
    setInterval(() => this.tick(), AGAIN_MS / 5);
    this.draw();
  }

  ask() {
    if (this.state === "latched") return;
    this.#askedAt ??= performance.now();
    this.#sentAt = -Infinity;
    this.tick();
  }

  #letGo() {
    // Where the vehicle has not confirmed it, asking ends; it may have latched all the same.
    this.#askedAt = null;
    this.#send("release_emergency_stop");
    this.draw();
  }

  /** What the vehicle says of itself; null where it does not. */
  vehicle(vehicle) {
    this.#latched = typeof vehicle?.latched === "boolean" ? vehicle.latched : null;
    this.#latchedAt = performance.now();
    if (this.#latched) {
      this.#askedAt = null;
      this.#answer = "";
    }
    this.draw();
  }

  /** The `data` of an action_status message about it. */
  answered({ accepted, delivered, reason }) {
    this.#answer = accepted === false ? "refused" : delivered === false ? "nobody received it" : "";
    if (this.#answer && typeof reason === "string" && reason) this.#answer = reason;
  }

  /** `idle`, `asked`, `latched` or `unknown`. */
  get state() {
    if (this.#askedAt !== null) return "asked";
    const latched = performance.now() - this.#latchedAt <= STALE_MS ? this.#latched : null;
    return latched === null ? "unknown" : latched ? "latched" : "idle";
  }

  /** What a person must know: a text or null. */
  get notice() {
    if (this.#askedAt === null) return null;
    const why = this.#answer ? ` (${this.#answer})` : "";
    const waited = ((performance.now() - this.#askedAt) / 1000).toFixed(0);
    return `Emergency stop asked for ${waited} s ago, and not confirmed by the vehicle${why}`;
  }

  tick() {
    const now = performance.now();
    if (this.#askedAt !== null && now - this.#sentAt >= AGAIN_MS) {
      this.#sentAt = now;
      if (!this.#send("emergency_stop")) this.#answer = "no connection to the viewer";
    }
    this.draw();
  }

  draw() {
    const state = this.state;
    this.#button.dataset.state = state;
    this.#button.setAttribute("aria-pressed", String(state === "latched"));
    const words = this.#button.querySelector("span");
    if (words.textContent !== WORDS[state]) words.textContent = WORDS[state];
    this.#release.hidden = state !== "asked" && state !== "latched";
  }
}
