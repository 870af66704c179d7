// What a person sees while processes die, are suspended and come back.

import assert from "node:assert/strict";
import { after, before, test as anyTest } from "node:test";
import { Page, launch } from "./browser.mjs";
import { System, until } from "./system.mjs";

let system;
let browser;
let page;

/** One after the other, on one system: after one that failed, the next ones would say nothing. */
let failed = null;
function test(name, act) {
  anyTest(name, async (context) => {
    if (failed) return context.skip(`after "${failed}" failed`);
    failed = name;
    await act();
    failed = null;
  });
}

before(async () => {
  browser = await launch();
  system = await System.start(process.env.LKAS);
  page = await Page.open(browser, system.port);
  // Browsers let a page make sounds only after a person has touched it.
  await page.click("h1");
});

after(async () => {
  await browser?.close();
  await system?.stop();
});

/** The vehicle drives, and the page says so. */
async function drives() {
  await page.sees("#mode", /^Lane keeping$/);
  await page.sees("#signal", /^live$/i);
  await page.sees("#departure", /^(centred|drifting)$/);
  await page.sees("#banner", /^$/);
}

/** What stands where a value is that nobody tells. */
const NOTHING = /^–$/;

async function knowsNothingOfTheVehicle() {
  for (const id of ["speed", "steering", "throttle", "brake", "departure", "offset", "heading", "lane-width"]) {
    await page.sees(`#${id}`, NOTHING);
  }
}

test("the vehicle drives", async () => {
  await drives();
  await page.picture("driving");
});

test("decision is suspended: a safe stop and its reason are seen and heard", async () => {
  let entered;
  await page.messages(({ type, data }, at) => {
    if (type === "status" && data.vehicle?.state === "safe_stop") entered ??= at - 1000 * data.vehicle.since_s;
  });
  await system.alone(async () => {
    const shown = page.moment("#banner[data-kind=bad]", /safe stop/i);
    const sent = await system.signal("SIGSTOP", "decision");
    const seen = await shown;
    const words = await page.sees("#banner", /safe stop/i);
    assert.match(words, /the writer of the controls is there, but silent/);
    await page.sees("#mode", /^Safe stop$/);
    const figure = (from) => `${Math.round(seen - from)} ms`;
    console.log(`a safe stop is seen ${figure(entered)} after the vehicle began it, ${figure(sent)} after decision was suspended`);

    await until("a sound", () => page.run(() => window.sounds > 0));
    await page.click("#mute");
    const before = await page.run(() => window.sounds);
    await page.sees("#mute", /off/i);
    await new Promise((resolve) => setTimeout(resolve, 2000));
    assert.equal(await page.run(() => window.sounds), before, "it is muted");
    await page.click("#mute");
    await until("a sound again", () => page.run((before) => window.sounds > before, before));
    for (const id of ["departure", "offset", "heading"]) await page.sees(`#${id}`, NOTHING);
    await page.picture("safe-stop");
    await system.signal("SIGCONT", "decision");
  });
  await drives();
});

test("decision is killed: the reason is its death", async () => {
  await system.alone(async () => {
    await system.signal("SIGKILL", "decision");
    await page.sees("#banner", /the writer of the controls died/);
    await page.sees("#mode", /^Safe stop$/);
  });
  await drives();
});

test("the simulation is killed: the vehicle is unknown, and no number stays", async () => {
  await system.alone(async () => {
    await system.signal("SIGKILL", "simulation");
    await page.sees("#banner", /vehicle unknown: its process is gone/);
    await page.sees("#mode", /^Unknown$/);
    await page.sees("#signal", /^no signal$/i);
    await knowsNothingOfTheVehicle();
    await page.sees("#latency", NOTHING);
    await page.picture("unknown");
  });
  await drives();
});

test("the broker is killed and comes back", async () => {
  await system.alone(async () => {
    await system.signal("SIGKILL", "broker");
    await page.sees("#mode", /^Unknown$/);
    await page.sees("#banner", /vehicle unknown: nothing is heard of it/);
    await page.sees("#link-broker span", /silent/);
    await knowsNothingOfTheVehicle();
  });
  await drives();
  await page.sees("#link-broker span", /^receiving$/);
});

test("the viewer is killed and comes back", async () => {
  await system.alone(async () => {
    await system.signal("SIGKILL", "viewer");
    await page.sees("#link-viewer span", /lost/);
    await page.sees("#mode", /^Unknown$/);
    await knowsNothingOfTheVehicle();
  });
  await drives();
});

test("the page had no error of its own", () => {
  assert.deepEqual(page.problems, []);
});
