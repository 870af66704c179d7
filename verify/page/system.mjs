// A whole system of real processes, with a namespace and ports of its own, and what can be done to it.

import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { test as anyTest } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

/** Longer than anything takes on a busy machine: who waits this long waits in vain. */
export const PATIENCE_MS = 60_000;

/** What `look` returns once that is something; `what` is a text, or makes one. */
export async function until(what, look) {
  const deadline = performance.now() + PATIENCE_MS;
  while (performance.now() < deadline) {
    const found = await look();
    if (found) return found;
    await sleep(20);
  }
  throw new Error(`in vain: ${typeof what === "function" ? what() : what}`);
}

/** The test that failed, or is running. */
export let failed = null;

/** One after the other, on one system: after one that failed, the next ones would say nothing. */
export function test(name, act) {
  anyTest(name, async (context) => {
    if (failed) return context.skip(`after "${failed}" failed`);
    failed = name;
    await act();
    failed = null;
  });
}

export class System {
  #child;
  #namespace;
  /** Everything that the processes said. */
  said = "";
  port;

  /** `name` tells it from the other systems of this test; `options` are for `lkas demo`. */
  static async start(program, name = "main", options = []) {
    const system = new System();
    system.#namespace = `page-${process.pid}-${name}`;
    const [broker, page] = [await freePorts(6), await freePorts(1)];
    system.port = page;
    system.#child = spawn(
      program,
      ["demo", "--namespace", system.#namespace, "--broker-port", String(broker), "--port", String(page), ...options],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    for (const stream of [system.#child.stdout, system.#child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (system.said += text));
    }
    await until("the page is served", () => fetch(`http://localhost:${page}/health`).then((answer) => answer.ok, () => false));
    return system;
  }

  /** The process id of the one child that runs this subcommand. */
  async pid(subcommand) {
    return until(`one ${subcommand}`, () => {
      const found = readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)).filter((entry) => {
        try {
          const words = readFileSync(`/proc/${entry}/cmdline`, "utf8").split("\0");
          return words[1] === subcommand && words.includes(`--namespace=${this.#namespace}`);
        } catch {
          return false; // It has ended meanwhile.
        }
      });
      return found.length === 1 && Number(found[0]);
    });
  }

  /** Sends a signal to a child; returns when that was, in milliseconds since 1970. */
  async signal(signal, subcommand) {
    const pid = await this.pid(subcommand);
    const at = performance.timeOrigin + performance.now();
    process.kill(pid, signal);
    return at;
  }

  /** While this runs nobody looks after the processes: who is killed stays away, who is suspended is not replaced. */
  async alone(act) {
    this.#child.kill("SIGSTOP");
    try {
      return await act();
    } finally {
      this.#child.kill("SIGCONT");
    }
  }

  async stop() {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGTERM");
    const patience = setTimeout(() => this.#child.kill("SIGKILL"), PATIENCE_MS);
    await ended;
    clearTimeout(patience);
  }
}

/** A way to the viewer that holds back everything for as long as `delay` says, in milliseconds. */
export async function slowWay(port) {
  const way = { delay: 0, port: 0, close: () => server.close() };
  const server = createServer((near) => {
    const far = createConnection(port, "localhost");
    for (const [from, to] of [[near, far], [far, near]]) {
      from.on("data", (bytes) => setTimeout(() => to.writable && to.write(bytes), way.delay));
      from.on("close", () => to.destroy());
      from.on("error", () => to.destroy());
    }
  });
  await new Promise((resolve) => server.listen(0, "localhost", resolve));
  way.port = server.address().port;
  return way;
}

/** The first of `count` ports in a row that nobody uses now. */
async function freePorts(count) {
  const open = (port) =>
    new Promise((resolve) => {
      const server = createServer();
      server.once("error", () => resolve(null));
      server.listen(port, "127.0.0.1", () => {
        const found = server.address().port;
        server.close(() => resolve(found));
      });
    });
  for (let attempt = 0; attempt < 1000; attempt += 1) {
    const first = await open(0);
    if (first + count > 65_535) continue;
    const rest = await Promise.all([...Array(count - 1).keys()].map((place) => open(first + 1 + place)));
    if (rest.every((port) => port !== null)) return first;
  }
  throw new Error(`no ${count} free ports in a row`);
}
