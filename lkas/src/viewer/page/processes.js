// The processes as they see themselves, and the last things that happened to them.

/** A status that nobody repeats says nothing about now. */
const STALE_MS = 500;
/** Events that are kept. */
const EVENTS = 200;
/** Keys of events that were seen: more than all processes can have at a time. */
const SEEN = 1000;
const WORDS = { running: "running", waiting: "waiting", safe_stop: "safe stop", standing: "standing", emergency_stop: "emergency stop" };
const NOTHING = "–";

export class Processes {
  #rows;
  #list;
  #stages;
  #at = -Infinity;
  #before = new Map();
  #seen = new Set();

  /** The bodies of the table of processes and of the table of stages, and the list of events. */
  constructor(rows, stages, list) {
    this.#rows = rows;
    this.#stages = stages;
    this.#list = list;
    setInterval(() => {
      if (performance.now() - this.#at > STALE_MS) this.forget();
    }, 250);
  }

  /** Nobody says any more what the processes do. */
  forget() {
    this.#at = -Infinity;
    for (const row of this.#rows.querySelectorAll("tr:not(.event)")) {
      row.dataset.kind = "none";
      for (const cell of [...row.children].slice(1)) put(cell, NOTHING);
    }
    this.#stages.replaceChildren();
  }

  /** The `data` of a status message. */
  show(data) {
    if (!Array.isArray(data?.processes)) return;
    this.#at = performance.now();
    for (const process of data.processes) {
      this.#row(process);
      for (const event of process.events ?? []) this.#event(process.name, event);
    }
    this.#latency(data.processes);
  }

  /** Events that happened before the page was opened, each with its `process`. */
  log(events) {
    for (const event of Array.isArray(events) ? events : []) this.#event(event.process, event);
  }

  #row(process) {
    const id = `process-${process.name}`;
    let row = document.getElementById(id);
    if (!row) {
      row = make("tr", { id });
      row.append(make("th", { scope: "row", textContent: process.name }), ...[1, 2, 3, 4].map(() => make("td", {})));
      const last = make("tr", { className: "event" });
      last.append(make("td", { colSpan: 5 }));
      this.#rows.append(row, last);
    }
    const [, state, rate, age, restarts] = row.children;
    row.dataset.kind = kind(process);
    row.title = process.alive ? `pid ${process.pid}, up for ${time(process.up_s)}${process.reason ? `: ${process.reason}` : ""}` : "";
    put(state, !process.alive ? "not there" : process.silent ? "silent" : WORDS[process.state] ?? "unknown");
    put(rate, process.alive && !process.silent ? this.#rate(process) : NOTHING);
    put(age, typeof process.age_s === "number" ? `${process.age_s.toFixed(1)} s` : NOTHING);
    put(restarts, typeof process.restarts === "number" ? String(process.restarts) : NOTHING);
    const event = process.events?.at(-1);
    put(row.nextElementSibling.firstElementChild, event ? `${event.words} · ${time(event.age_s)} ago` : "");
  }

  /** Values a second over the last second or so. */
  #rate(process) {
    const now = performance.now();
    const before = this.#before.get(process.name);
    if (!before || before.pid !== process.pid || process.published < before.published) {
      this.#before.set(process.name, { pid: process.pid, published: process.published, at: now, words: NOTHING });
      return NOTHING;
    }
    if (now - before.at < 1000) return before.words;
    const words = `${((1000 * (process.published - before.published)) / (now - before.at)).toFixed(0)}/s`;
    this.#before.set(process.name, { pid: process.pid, published: process.published, at: now, words });
    return words;
  }

  #event(name, event) {
    // A number alone is not enough: after a new start of everything they count from 1 again.
    const key = `${name} ${event.number} ${event.time_s}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    if (this.#seen.size > SEEN) this.#seen.delete(this.#seen.values().next().value);
    const at = new Date(Date.now() - 1000 * event.age_s);
    const item = make("li", {});
    item.append(
      make("time", { textContent: at.toLocaleTimeString([], { hour12: false }) }),
      make("b", { textContent: name }),
      document.createTextNode(` ${event.words}`),
    );
    // The newest on top; those of the first message come in any order of processes.
    const place = [...this.#list.children].find((other) => Number(other.dataset.at) <= at.getTime());
    item.dataset.at = at.getTime();
    this.#list.insertBefore(item, place ?? null);
    while (this.#list.children.length > EVENTS) this.#list.lastElementChild.remove();
  }

  /** A row for each stage that a process which speaks has measured. */
  #latency(processes) {
    const stages = stagesOf(processes);
    if (stages.size !== this.#stages.children.length) {
      const rows = [...stages].map(() => {
        const row = make("tr", {});
        row.append(make("th", { scope: "row" }), ...[1, 2, 3].map(() => make("td", {})));
        return row;
      });
      this.#stages.replaceChildren(...rows);
    }
    [...stages].forEach(([name, figures], place) => {
      const cells = this.#stages.children[place].children;
      put(cells[0], name);
      ["p50", "p99", "max"].forEach((figure, column) => put(cells[column + 1], duration(figures[figure])));
    });
  }
}

/** The stages that processes measure: name to `{ p50, p99, max }`, whatever stages there are. */
export function stagesOf(processes) {
  const stages = new Map();
  for (const process of processes ?? []) {
    if (!process.alive || process.silent) continue;
    for (const [name, value] of Object.entries(process.latency ?? {})) {
      const [, stage, figure] = /^(?:(.*)_)?(p50|p99|max)$/.exec(name) ?? [null, name, "p50"];
      // Several processes may have a stage of the same name.
      const words = stage ? `${stage.replaceAll("_", " ")} (${process.name})` : "camera to control";
      if (typeof value === "number") stages.set(words, { ...stages.get(words), [figure]: value });
    }
  }
  return new Map([...stages].sort(([a], [b]) => rank(a) - rank(b)));
}

/** From the camera to the vehicle; what nobody knows comes last. */
const ORDER = ["camera to control", "render", "write", "wake detection", "detect", "wake decision", "decide", "apply"];

function rank(stage) {
  const at = ORDER.findIndex((name) => stage === name || stage.startsWith(`${name} (`));
  return at < 0 ? ORDER.length : at;
}

function kind(process) {
  if (!process.alive || process.silent) return "bad";
  return { running: "good", waiting: "warn" }[process.state] ?? "bad";
}

function duration(ms) {
  return typeof ms !== "number" ? NOTHING : ms < 0.095 ? `${(1000 * ms).toFixed(0)} µs` : `${ms.toFixed(1)} ms`;
}

function time(seconds) {
  return seconds < 120 ? `${Math.round(seconds)} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function make(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

function put(element, words) {
  if (element.textContent !== words) element.textContent = words;
}
