// The processes as they see themselves, and the last things that happened to them.

/** A status that nobody repeats says nothing about now. */
const STALE_MS = 500;
/** Events that are kept. */
const EVENTS = 200;
const WORDS = { running: "running", waiting: "waiting", safe_stop: "safe stop", standing: "standing", emergency_stop: "emergency stop" };

export class Processes {
  #rows;
  #list;
  #at = -Infinity;
  #before = new Map();
  #seen = new Set();

  constructor(rows, list) {
    this.#rows = rows;
    this.#list = list;
    setInterval(() => {
      if (performance.now() - this.#at > STALE_MS) this.forget();
    }, 250);
  }

  /** Nobody says any more what the processes do. */
  forget() {
    for (const row of this.#rows.children) {
      row.dataset.kind = "none";
      for (const cell of [...row.children].slice(1)) put(cell, "–");
    }
  }

  /** The `data` of a status message. */
  show(data) {
    if (!Array.isArray(data?.processes)) return;
    this.#at = performance.now();
    for (const process of data.processes) {
      this.#row(process);
      for (const event of process.events ?? []) this.#event(process.name, event);
    }
  }

  #row(process) {
    const id = `process-${process.name}`;
    let row = document.getElementById(id);
    if (!row) {
      row = Object.assign(document.createElement("tr"), { id });
      const head = Object.assign(document.createElement("th"), { scope: "row", textContent: process.name });
      row.append(head, ...[1, 2, 3].map(() => document.createElement("td")));
      this.#rows.append(row);
    }
    const [, state, rate, up] = row.children;
    row.dataset.kind = kind(process);
    row.title = process.alive ? `pid ${process.pid}${process.reason ? `: ${process.reason}` : ""}` : "";
    const silence = typeof process.age_s === "number" ? ` for ${process.age_s.toFixed(1)} s` : "";
    put(state, !process.alive ? "not there" : process.silent ? `silent${silence}` : WORDS[process.state] ?? "unknown");
    put(rate, process.alive && !process.silent ? this.#rate(process) : "–");
    put(up, process.alive ? time(process.up_s) : "–");
  }

  /** Values a second over the last second or so. */
  #rate(process) {
    const now = performance.now();
    const before = this.#before.get(process.name);
    if (!before || before.pid !== process.pid || process.published < before.published) {
      this.#before.set(process.name, { pid: process.pid, published: process.published, at: now, words: "–" });
      return "–";
    }
    if (now - before.at < 1000) return before.words;
    const words = `${((1000 * (process.published - before.published)) / (now - before.at)).toFixed(0)}/s`;
    this.#before.set(process.name, { pid: process.pid, published: process.published, at: now, words });
    return words;
  }

  #event(name, event) {
    const key = `${name} ${event.number}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    const at = new Date(Date.now() - 1000 * event.age_s);
    const item = document.createElement("li");
    item.append(
      Object.assign(document.createElement("time"), { textContent: at.toLocaleTimeString([], { hour12: false }) }),
      Object.assign(document.createElement("b"), { textContent: name }),
      document.createTextNode(` ${event.words}`),
    );
    // The newest on top; those of the first message come in any order of processes.
    const place = [...this.#list.children].find((other) => Number(other.dataset.at) <= at.getTime());
    item.dataset.at = at.getTime();
    this.#list.insertBefore(item, place ?? null);
    while (this.#list.children.length > EVENTS) this.#list.lastElementChild.remove();
  }
}

function kind(process) {
  if (!process.alive || process.silent) return "bad";
  return { running: "good", waiting: "warn" }[process.state] ?? "bad";
}

function time(seconds) {
  return seconds < 120 ? `${Math.round(seconds)} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function put(element, words) {
  if (element.textContent !== words) element.textContent = words;
}
