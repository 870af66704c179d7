// What the vehicle does and what the system thinks: numbers, needles and bars.

/** A value that nobody repeats is no value: an old speed is as dangerous as a frozen picture. */
const STALE_MS = 500;
const NOTHING = "–";

const MODES = {
  manual: ["Manual", "neutral"],
  autopilot: ["Autopilot", "info"],
  lane_keeping: ["Lane keeping", "good"],
  emergency_stop: ["Emergency stop", "bad"],
};
const STATES = {
  waiting: ["Waiting", "neutral"],
  safe_stop: ["Safe stop", "bad"],
  standing: ["Safe stop", "bad"],
  emergency_stop: ["Emergency stop", "bad"],
  unknown: ["Unknown", "none"],
};
const UNKNOWN = ["Unknown", "none"];
const DEPARTURES = { centred: ["centred", "good"], drift: ["drifting", "warn"], departure: ["leaving the lane", "bad"] };
const SPEED_RANGES = [60, 120, 200, 320];

const at = (id) => document.getElementById(id);
const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);
const text = (id, value) => {
  const element = at(id);
  if (element.textContent !== value) element.textContent = value;
};
const fixed = (value, digits, unit = "") => (value === null ? NOTHING : `${value.toFixed(digits)}${unit}`);
const duration = (ms) => (ms !== null && ms < 0.095 ? fixed(1000 * ms, 1, " µs") : fixed(ms, 1, " ms"));
const side = (value, digits) => (Math.abs(value) < 0.5 * 10 ** -digits ? "" : value > 0 ? " right" : " left");

export class Instruments {
  #state = null;
  #stateAt = -Infinity;
  #telemetry = null;
  #telemetryAt = -Infinity;
  #status = null;
  #statusAt = -Infinity;
  #lanesAt = -Infinity;
  #lanesMs = null;
  #speedRange = 0;

  /** The `data` of a state message. */
  state(data) {
    if (typeof data !== "object" || data === null) return;
    this.#state = data;
    this.#stateAt = performance.now();
  }

  /** The `data` of a telemetry message. */
  telemetry(data) {
    if (typeof data !== "object" || data === null) return;
    this.#telemetry = data;
    this.#telemetryAt = performance.now();
  }

  /** The `data` of a status message: what the vehicle and each process say of themselves. */
  status(data) {
    if (typeof data !== "object" || data === null) return;
    this.#status = data;
    this.#statusAt = performance.now();
  }

  /** The `data` of a detection message: how long it took is known even where there is no telemetry. */
  detection(data) {
    this.#lanesMs = number(data?.processing_time_ms);
    this.#lanesAt = performance.now();
  }

  /** Nobody repeats the values any more. */
  forget() {
    this.#stateAt = this.#telemetryAt = this.#statusAt = this.#lanesAt = -Infinity;
  }

  /** Whether the vehicle stands still on request; null where nobody says. */
  get paused() {
    const paused = this.#fresh(this.#state, this.#stateAt)?.paused;
    return typeof paused === "boolean" ? paused : null;
  }

  /** What the vehicle says of itself now; null where it does not, or where a broker sends no status. */
  get #vehicle() {
    return this.#fresh(this.#status, this.#statusAt)?.vehicle ?? null;
  }

  /** What a person must know now: `{ text, severe }` or null. */
  get notice() {
    const vehicle = this.#vehicle;
    if (typeof vehicle?.words === "string") return { text: vehicle.words, severe: vehicle.severe === true };
    if (vehicle) return null;
    // It said something before, or other things come: then that it says nothing now is worth knowing.
    if (this.#status) return { text: "vehicle unknown: nothing is heard of it", severe: false };
    const stopped = this.#fresh(this.#telemetry, this.#telemetryAt)?.mode === "emergency_stop";
    return stopped ? { text: "emergency stop: the vehicle brakes", severe: true } : null;
  }

  #fresh(data, then) {
    return data && performance.now() - then <= STALE_MS ? data : null;
  }

  /** What is known of the vehicle and its lane; of the lane nothing while nobody knows where the vehicle is. */
  get #known() {
    const state = this.#fresh(this.#state, this.#stateAt);
    const telemetry = this.#fresh(this.#telemetry, this.#telemetryAt);
    const unknown = this.#status !== null && (this.#vehicle?.state ?? "unknown") === "unknown";
    return { state: unknown ? null : state, telemetry: unknown ? null : telemetry };
  }

  /** The values of now, for charts: a number or null each. */
  get values() {
    const { state, telemetry } = this.#known;
    const percent = (value) => (value === null ? null : 100 * value);
    return {
      offset: number(telemetry?.lateral_offset_m),
      heading: number(telemetry?.heading_angle_deg),
      steering: number(state?.steering),
      steering_wanted: number(telemetry?.steering),
      throttle: percent(number(state?.throttle)),
      brake: percent(number(state?.brake)),
      speed: number(state?.speed_kmh),
      latency: number(telemetry?.latency_ms),
    };
  }

  /** `shown` is the rate at which the page shows frames; null where it shows none. */
  draw(shown) {
    const { state, telemetry } = this.#known;
    text("latency", fixed(number(telemetry?.latency_ms), 1, " ms"));
    text("fps", fixed(number(telemetry?.fps) ?? shown, 0, " fps"));
    const cluster = at("cluster");
    cluster.classList.toggle("no-state", !state && !telemetry);
    this.#drawMode(this.#fresh(this.#telemetry, this.#telemetryAt));
    this.#drawSpeed(number(state?.speed_kmh));
    this.#drawSteering(number(state?.steering), number(telemetry?.steering));
    for (const pedal of ["throttle", "brake"]) this.#drawPedal(pedal, number(state?.[pedal]), number(telemetry?.[pedal]));
    this.#drawPosition(telemetry);
    const lanesMs = performance.now() - this.#lanesAt <= STALE_MS ? this.#lanesMs : null;
    text("detection-ms", duration(number(telemetry?.detection_ms) ?? lanesMs));
    text("decision-ms", duration(number(telemetry?.decision_ms)));
  }

  #drawMode(telemetry) {
    const vehicle = this.#vehicle;
    // The vehicle itself has the last word: a control that asks for something else is not executed in a safe stop.
    const own = vehicle ? STATES[vehicle.state] : this.#status ? UNKNOWN : null;
    const [name, kind] = own ?? MODES[telemetry?.mode] ?? UNKNOWN;
    text("mode", name);
    at("mode").dataset.kind = kind;
  }

  #drawSpeed(speed) {
    text("speed", fixed(speed, Math.abs(speed ?? 0) < 9.95 ? 1 : 0));
    const magnitude = Math.abs(speed ?? 0);
    while (magnitude > SPEED_RANGES[this.#speedRange] && this.#speedRange < SPEED_RANGES.length - 1) this.#speedRange += 1;
    const range = SPEED_RANGES[this.#speedRange];
    text("speed-range", `0 – ${range}`);
    at("speed-arc").style.strokeDasharray = `${Math.min(100, (100 * magnitude) / range)} 200`;
  }

  #drawSteering(actual, wanted) {
    // What is asked for is not what the vehicle does: where that is unknown, so is the number.
    const steering = actual;
    text("steering", steering === null ? NOTHING : Math.abs(steering).toFixed(2));
    text("steering-side", steering === null ? "" : side(steering, 2).trim() || "straight");
    at("wheel").style.visibility = steering === null ? "hidden" : "visible";
    at("wheel").style.transform = `rotate(${120 * clamp(steering ?? 0)}deg)`;
    const command = at("wheel-command");
    command.style.visibility = wanted === null ? "hidden" : "visible";
    command.style.transform = `rotate(${120 * clamp(wanted ?? 0)}deg)`;
  }

  #drawPedal(pedal, actual, wanted) {
    const value = actual;
    text(pedal, value === null ? NOTHING : `${Math.round(100 * value)} %`);
    const meter = at(`${pedal}-meter`);
    meter.style.setProperty("--value", Math.min(1, Math.max(0, value ?? 0)));
    meter.style.setProperty("--wanted", Math.min(1, Math.max(0, wanted ?? 0)));
    meter.classList.toggle("commanded", wanted !== null);
    meter.classList.toggle("unknown", value === null);
  }

  #drawPosition(telemetry) {
    const offset = number(telemetry?.lateral_offset);
    const metres = number(telemetry?.lateral_offset_m);
    const heading = number(telemetry?.heading_angle_deg);
    const [name, kind] = DEPARTURES[telemetry?.departure] ?? [NOTHING, "none"];
    text("departure", name);
    at("departure").dataset.kind = kind;
    const car = at("car");
    car.dataset.kind = kind;
    car.style.visibility = offset === null ? "hidden" : "visible";
    // The lines are 80 units from the middle at the height of the car's wheels, see the drawing in the page.
    car.style.transform = `translate(${120 + 78 * clamp(offset ?? 0, 1.35)}px, 0)`;
    const share = offset === null ? NOTHING : `${Math.abs(100 * offset).toFixed(0)} %${side(100 * offset, 0)}`;
    text("offset", metres === null ? share : `${Math.abs(metres).toFixed(2)} m${side(metres, 2)}`);
    at("offset").title = `${share} of half the lane's width`;
    text("heading", heading === null ? NOTHING : `${Math.abs(heading).toFixed(1)}°${side(heading, 1)}`);
    text("lane-width", fixed(number(telemetry?.lane_width_px), 0, " px"));
  }
}

function clamp(value, limit = 1) {
  return Math.min(limit, Math.max(-limit, value));
}
