// The parameters that the viewer knows or a server declares, in groups.

import { Row, make } from "./parameter.js";

/** A server of which nobody says anything for so long may have other values by now. */
const STALE_MS = 500;

const TITLES = { detection: "Detection", decision: "Decision" };

/** All rows, in groups. */
export class Parameters {
  #root;
  #send;
  #rows = new Map();
  #groups = new Map();
  /** When a server was last heard of, for those that declare. */
  #spoke = new Map();

  /** `send(message)` tells whether the message left. */
  constructor(root, send) {
    this.#root = root;
    this.#send = send;
    setInterval(() => this.#tick(), 250);
  }

  /** Builds the rows of the viewer's table, for brokers that do not say what servers declare. */
  build(table) {
    for (const about of table) this.#row(about);
  }

  /** The `processes` of a status message: whatever they declare gets its control. */
  declared(processes) {
    if (!Array.isArray(processes)) return;
    const now = performance.now();
    for (const { name: category, alive, silent, parameters } of processes) {
      if (!parameters?.length && !this.#groups.has(category)) continue;
      const why = !alive ? `${category} is not there` : silent ? `${category} says nothing` : null;
      this.#spoke.set(category, now);
      for (const about of parameters ?? []) this.#row({ ...about, category }).declared({ ...about, category });
      this.#outdated(category, why);
    }
  }

  #outdated(category, why) {
    for (const row of this.#groups.get(category)?.rows ?? []) row.outdated(why);
  }

  /** Servers that have declared something, and of which nobody says anything any more. */
  #tick() {
    this.#each((row) => row.tick());
    for (const [category, at] of this.#spoke) {
      if (performance.now() - at > STALE_MS) this.#outdated(category, `nothing is heard of ${category}`);
    }
  }

  /** The row that a parameter_status is about: made where its server declares the parameter; undefined otherwise. */
  #rowOf({ category, parameter, declared } = {}) {
    const row = this.#rows.get(`${category} ${parameter}`);
    if (row || !(declared?.min < declared?.max)) return row;
    return this.#row({ ...declared, category: String(category), name: String(parameter) });
  }

  /** The row of a parameter, which is made where there is none yet. */
  #row(about) {
    const key = `${about.category} ${about.name}`;
    if (!this.#rows.has(key)) {
      const row = new Row(about, this.#send);
      this.#rows.set(key, row);
      const group = this.#group(about.category);
      group.rows.push(row);
      group.element.append(row.element);
    }
    return this.#rows.get(key);
  }

  #group(category) {
    if (!this.#groups.has(category)) {
      const title = TITLES[category] ?? category.replaceAll("_", " ");
      const rows = [];
      const element = make("section", { className: "group" });
      element.setAttribute("aria-label", `${title} parameters`);
      const all = make("button", { type: "button", className: "quiet", textContent: "Reset all" });
      all.setAttribute("aria-label", `Reset all ${title} parameters`);
      all.addEventListener("click", () => rows.forEach((row) => row.reset()));
      const head = make("header", {});
      head.append(make("h3", { textContent: title }), all);
      element.append(head);
      this.#root.append(element);
      this.#groups.set(category, { element, rows });
    }
    return this.#groups.get(category);
  }

  /** The `data` of a `values` message. */
  values(statuses) {
    for (const status of statuses) this.#rowOf(status);
    const known = new Map(statuses.map((status) => [`${status.category} ${status.parameter}`, status]));
    for (const [key, row] of this.#rows) row.known(known.get(key));
  }

  /** The `data` of a parameter_status message. */
  status(data) {
    this.#rowOf(data)?.answer(data);
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
