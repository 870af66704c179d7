// A real Chromium, and what a person sees and does in it.

import { mkdirSync } from "node:fs";
import axe from "axe-core";
import puppeteer from "puppeteer-core";
import { PATIENCE_MS, until } from "./system.mjs";

const PROGRAM = process.env.CHROMIUM ?? "/usr/bin/chromium";
/** Pictures of the page go there, where somebody wants them. */
const PICTURES = process.env.LKAS_SCREENSHOTS;

export async function launch() {
  return puppeteer.launch({
    executablePath: PROGRAM,
    headless: true,
    protocolTimeout: PATIENCE_MS,
    // Nothing of what Chromium does by itself, and no sandbox, which root can't have.
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--mute-audio"],
  });
}

/** One page, with a record of what it showed when. */
export class Page {
  #context;
  #page;
  /** Every sound that it started. */
  static #listen = () => {
    window.sounds = 0;
    const start = OscillatorNode.prototype.start;
    OscillatorNode.prototype.start = function (...when) {
      window.sounds += 1;
      return start.apply(this, when);
    };
  };

  /** A clock that goes on when the test says so, by `pass`, and a connection on which the test speaks, `socket`. */
  static #alone = () => {
    let now = 0;
    let last = 0;
    const timers = new Map();
    const start = (act, ms, every) => {
      timers.set((last += 1), { act, due: now + ms, every });
      return last;
    };
    performance.now = () => now;
    window.setTimeout = (act, ms = 0) => start(act, ms, null);
    window.setInterval = (act, ms) => start(act, ms, ms);
    window.clearTimeout = window.clearInterval = (id) => timers.delete(id);
    window.pass = (ms) => {
      const end = now + ms;
      for (;;) {
        const [id, timer] = [...timers].filter(([, { due }]) => due <= end).sort(([, a], [, b]) => a.due - b.due)[0] ?? [];
        if (!timer) break;
        now = timer.due;
        if (timer.every === null) timers.delete(id);
        else timer.due += timer.every;
        timer.act();
      }
      now = end;
    };
    window.WebSocket = class {
      static OPEN = 1;
      readyState = 1;
      constructor() {
        window.socket = this;
      }
      /** What the viewer says: an object or the bytes of a frame. */
      hear(message) {
        this.onmessage({ data: message instanceof ArrayBuffer ? message : JSON.stringify(message) });
      }
      send(text) {
        this.sent?.(JSON.parse(text));
      }
      close() {}
    };
  };

  static async open(browser, port, { width = 1600, height = 900, scheme = "dark", alone = false } = {}) {
    const page = new Page();
    // A window of its own: a page behind another one is not drawn.
    page.#context = await browser.createBrowserContext();
    page.#page = await page.#context.newPage();
    page.problems = [];
    page.#page.on("pageerror", (error) => page.problems.push(String(error)));
    page.#page.on("console", (message) => {
      // A connection that is refused while the viewer is away is no fault of the page.
      if (message.type() === "error" && !/WebSocket|ERR_CONNECTION/.test(message.text())) page.problems.push(message.text());
    });
    await page.#page.evaluateOnNewDocument(Page.#listen);
    if (alone) await page.#page.evaluateOnNewDocument(Page.#alone);
    await page.look({ width, height, scheme });
    await page.#page.goto(`http://localhost:${port}/`);
    return page;
  }

  /** Another size of the window, another scheme of colours. */
  async look({ width, height, scheme }) {
    if (width) await this.#page.setViewport({ width, height });
    if (scheme) await this.#page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  }

  run(act, ...values) {
    return this.#page.evaluate(act, ...values);
  }

  /** The words in an element that a person can see; an empty text where it is hidden. */
  text(selector) {
    return this.run((selector) => {
      const element = document.querySelector(selector);
      return element?.checkVisibility({ visibilityProperty: true }) ? element.textContent.trim() : "";
    }, selector);
  }

  /** Waits until the words in an element match. */
  async sees(selector, words) {
    let last = "";
    await until(() => `${selector} says ${words}; it says "${last}"`, async () => words.test((last = await this.text(selector))));
    return last;
  }

  click(selector) {
    return this.#page.click(selector);
  }

  press(key) {
    return this.#page.keyboard.press(key);
  }

  focus(selector) {
    return this.#page.focus(selector);
  }

  /** Types into a field over what is there, and presses Enter. */
  async fill(selector, words) {
    await this.#page.click(selector, { count: 3 });
    await this.#page.type(selector, words);
    await this.press("Enter");
  }

  /** When the page first shows an element with these words, in milliseconds since 1970; to be asked for before it does. */
  moment(selector, words) {
    return this.run(
      (selector, source, flags) =>
        new Promise((resolve) => {
          const words = new RegExp(source, flags);
          const look = () => {
            const element = document.querySelector(selector);
            if (element?.checkVisibility() && words.test(element.textContent)) resolve(performance.timeOrigin + performance.now());
            else requestAnimationFrame(look);
          };
          look();
        }),
      selector,
      words.source,
      words.flags,
    );
  }

  /** What axe-core finds in the page as it is now, in words. */
  async findings() {
    await this.#page.evaluate(axe.source);
    const { violations } = await this.run(() => window.axe.run());
    return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target} ${node.failureSummary}`));
  }

  async picture(name) {
    if (!PICTURES) return;
    mkdirSync(PICTURES, { recursive: true });
    await this.#page.screenshot({ path: `${PICTURES}/${name}.png` });
  }

  /** The text messages from the viewer, as Chromium's network sees them, with the time of their arrival. */
  async messages(on) {
    const session = await this.#page.createCDPSession();
    await session.send("Network.enable");
    session.on("Network.webSocketFrameReceived", ({ response }) => {
      if (response.opcode === 1) on(JSON.parse(response.payloadData), performance.timeOrigin + performance.now());
    });
  }

  close() {
    return this.#context.close();
  }
}
