// What a person sees while processes die, are suspended and come back.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Page, launch } from "./browser.mjs";
import { PATIENCE_MS, System, failed, slowWay, test, until } from "./system.mjs";

let system;
let browser;
let page;

before(async () => {
  browser = await launch();
  system = await System.start(process.env.LKAS);
  page = await Page.open(browser, system.port);
  // Browsers let a page make sounds only after a person has touched it.
  await page.click("h1");
});

after(async () => {
  if (failed) console.log(`the page said: ${page?.problems.join("\n")}\nthe processes said:\n${system?.said.slice(-3000)}`);
  await browser?.close();
  await system?.stop();
});

/** The vehicle drives, and the page says so. Where it was stopped its lines may not be sure: then a person puts it back. */
async function drives() {
  for (let due = 3000, start = performance.now(); !/^Lane keeping$/.test(await page.text("#mode")); ) {
    const waited = performance.now() - start;
    assert.ok(waited < PATIENCE_MS, `it does not drive, but is in ${await page.text("#mode")}: ${await page.text("#banner")}`);
    if (waited > due) {
      await page.click("[data-action=respawn]");
      due += 5000;
    }
    await sleep(50);
  }
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
    if (type === "status" && data.vehicle?.severe) entered ??= at - 1000 * data.vehicle.since_s;
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
    await sleep(2000);
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

test("a value is refused beside its field, or in force, and others see it", async () => {
  const field = "#decision-throttle_base-value";
  const status = "#decision-throttle_base-status";
  await page.sees(status, /^in force 0.14/);
  for (const [typed, why] of [["0.9", /out of range: 0\.\d+ to 0\.5.*, found "0\.9"/], ["fast", /a number is needed/]]) {
    await page.fill(field, typed);
    await page.sees(status, why);
    assert.equal(await page.run((field) => document.querySelector(field).getAttribute("aria-invalid"), field), "true");
  }
  await page.press("Escape");
  await page.sees(status, /^in force 0.14/);
  await page.fill(field, "0,31");
  await page.sees(status, /^in force 0.31/);

  // Another page follows, in a field that has the focus and that nobody has typed into.
  const other = await Page.open(browser, system.port);
  await other.sees(status, /^in force 0.31/);
  await other.focus(field);
  await page.fill(field, "0.2");
  await until("the focused field follows", () => other.run((field) => Number(document.querySelector(field).value) === 0.2, field));
  assert.ok(await other.run((field) => document.activeElement.matches(`${field}.followed`), field), "it is seen to follow");
  assert.deepEqual(other.problems, []);
  await other.close();
  await page.press("Escape");

  await system.alone(async () => {
    await system.signal("SIGKILL", "decision");
    await page.sees(status, /^not known: decision is not there; it was 0.2/);
  });
  await page.sees(status, /^in force 0.2/);
  await page.click("#decision-throttle_base-value ~ .reset");
  await page.sees(status, /^in force 0.14/);
  await drives();
});

test("whatever a server declares gets its control, with unit and help", async () => {
  const seen = await page.run(async () => {
    const { Parameters } = await import("/parameters.js");
    const root = document.createElement("div");
    document.body.append(root);
    const sent = [];
    const parameters = new Parameters(root, (message) => sent.push(message));
    const about = { name: "gain", unit: "dB", help: "how loud", min: 0, max: 10, default: 2, value: 3 };
    // As the answer to a request, from a server that has no status channel.
    parameters.status({ category: "planning", parameter: "look_ahead", accepted: true, confirmed: true, value: 9, declared: { min: 1, max: 50, default: 8, unit: "m", help: "how far it looks" } });
    parameters.declared([{ name: "radio_link", alive: true, silent: false, parameters: [about] }]);
    const field = root.querySelector("#radio_link-gain-value");
    const seen = { words: root.textContent, value: field.value };
    field.value = "7,5";
    field.dispatchEvent(new Event("change"));
    root.remove();
    return { ...seen, sent };
  });
  for (const words of ["radio link", "gain", "dB", "how loud", "in force 3.00 dB", "planning", "look ahead", "how far it looks", "in force 9 m"]) assert.ok(seen.words.includes(words), seen.words);
  assert.equal(Number(seen.value), 3);
  assert.deepEqual(seen.sent, [{ type: "parameter", category: "radio_link", parameter: "gain", value: 7.5 }]);
});

test("an emergency stop is asked for until the vehicle says that it is latched", async () => {
  // While the broker is away nobody can hear it; also the key that asks for it works while somebody types.
  await system.alone(async () => {
    await system.signal("SIGKILL", "broker");
    await page.sees("#mode", /^Unknown$/);
    await page.focus("#decision-kp-value");
    await page.press("e");
    await page.sees("#stop", /^Stop asked for/);
    // Longer than anybody on the way keeps it: what latches in the end was asked for again.
    await page.sees("#banner[data-kind=bad]", /^Emergency stop asked for [4-9] s ago, and not confirmed by the vehicle/);
  });
  await page.sees("#stop", /^Stop latched/);
  await page.sees("#banner[data-kind=bad]", /SAFE STOP.*emergency stop by a person/);
  await page.sees("#mode", /^Safe stop$/);
  await until("the title says it", () => page.run(() => document.title.startsWith("EMERGENCY STOP")));
  await page.picture("emergency-stop");

  // It is the vehicle's, whoever else dies.
  await system.signal("SIGKILL", "viewer");
  await page.sees("#link-viewer span", /lost/);
  await page.sees("#stop", /^Emergency stop/);
  await page.sees("#stop", /^Stop latched/);
  await page.click("#release");
  await page.sees("#stop", /^Emergency stop/);
  await drives();
});

test("processes, their restarts and last events, and the charts", async () => {
  for (const name of ["simulation", "detection", "decision", "broker", "viewer"]) {
    await page.sees(`#process-${name} td:nth-of-type(1)`, /^running$/);
    await page.sees(`#process-${name} td:nth-of-type(2)`, /^\d+\/s$/);
    await page.sees(`#process-${name} td:nth-of-type(3)`, /^\d\.\d s$/);
    await page.sees(`#process-${name} + .event`, /\w/);
  }
  await page.sees("#process-decision td:nth-of-type(4)", /^[2-9]$/);
  await page.sees("#process-detection td:nth-of-type(4)", /^0$/);
  await page.sees("#events", /the writer of the controls died/);
  await page.sees("#stages th", /camera to control/);
  await page.sees("#stages td", /^[\d.]+ (ms|µs)$/);
  await page.look({ width: 1600, height: 1300 });
  const drawn = await until("lines are drawn", () => page.run(() => {
    const colours = [...document.querySelectorAll(".chart canvas")].map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let seen = 0;
      for (let place = 0; place < data.length; place += 4) if (data[place + 3] > 200 && Math.max(data[place], data[place + 1], data[place + 2]) > 150) seen += 1;
      return seen;
    });
    return colours.length === 6 && colours.every((seen) => seen > 20) && colours;
  }));
  assert.equal(drawn.length, 6);
  await page.look({ width: 1600, height: 900 });
});

test("commands that are open to a network are warned of, and who has the lease is shown", async () => {
  await page.sees("#commands", /^$/);
  const open = await System.start(process.env.LKAS, "open", ["--insecure", "--command-on", "127.0.0.2"]);
  const other = await Page.open(browser, open.port);
  try {
    await other.sees("#commands", /open to the network without keys/);
    assert.ok(await other.run(() => document.getElementById("commands").getBoundingClientRect().height > 10), "it is seen");
  } finally {
    await other.close();
    await open.stop();
  }
  const shown = await page.run(async () => {
    const { Commands } = await import("/commands.js");
    const element = document.createElement("p");
    const commands = new Commands(element);
    const seen = [];
    for (const said of [
      { warning: null, lease: { holder: "<b>Anna</b>", left_s: 8 } },
      { warning: "open", lease: { holder: "Anna", left_s: -1 } },
      { warning: null, lease: null },
      { warning: 7, lease: "no lease" },
      undefined,
    ]) {
      commands.show(said);
      seen.push([element.hidden, element.dataset.kind, element.textContent, element.childElementCount]);
    }
    return seen;
  });
  assert.match(shown[0][2], /^“<b>Anna<\/b>” has the lease for commands for another 8 s/);
  assert.deepEqual([shown[0][0], shown[0][1], shown[0][3]], [false, "note", 0]);
  assert.deepEqual(shown[1], [false, "warn", "open", 0]);
  for (const nothing of shown.slice(2)) assert.deepEqual(nothing, [true, "note", "", 0]);
});

test("the log keeps the last 200 events, also of a system that started anew", async () => {
  const kept = await page.run(async () => {
    const { Processes } = await import("/processes.js");
    const [rows, stages, list] = ["tbody", "tbody", "ol"].map((tag) => document.createElement(tag));
    const processes = new Processes(rows, stages, list);
    const say = (number, time_s, words) =>
      processes.show({ processes: [{ name: "nobody", alive: true, events: [{ number, time_s, age_s: 1000 - time_s, words }] }] });
    for (let number = 1; number <= 300; number += 1) for (const again of [1, 2]) say(number, number, `number ${number}`);
    const kept = list.children.length;
    say(1, 400, "started");
    return { kept, first: list.children[0].textContent, second: list.children[1].textContent };
  });
  assert.equal(kept.kept, 200);
  assert.match(kept.first, /started/);
  assert.match(kept.second, /number 300$/);
});

test("by the page's own clock: a safe stop is shown with the message that says so, and live ends 0.5 s after a frame", async () => {
  const alone = await Page.open(browser, system.port, { alone: true });
  const said = await alone.run(() => {
    socket.onopen();
    const look = () => {
      const [banner, mode] = ["banner", "mode"].map((id) => document.getElementById(id));
      return [banner.checkVisibility() ? `${banner.dataset.kind}: ${banner.textContent}` : "", mode.textContent, document.title];
    };
    const say = (state, words, severe) => {
      socket.hear({ type: "telemetry", data: { mode: "lane_keeping" } });
      socket.hear({ type: "status", data: { vehicle: { state, words, severe, latched: false, paused: false, since_s: 0 }, processes: [] } });
    };
    const seen = {};
    say("running", null, false);
    seen.drives = look();
    // Between two drawings: no time passes until it is shown.
    pass(130);
    say("safe_stop", "SAFE STOP: braking; why", true);
    seen.stops = look();
    pass(130);
    say("running", null, false);
    seen.again = look();
    // What nobody repeats is not known for longer than half a second, and a drawing.
    pass(500);
    seen.silent = look();
    pass(100);
    seen.unknown = look();
    return seen;
  });
  assert.deepEqual(said.drives, ["", "Lane keeping", "LKAS viewer"]);
  assert.deepEqual(said.stops, ["bad: SAFE STOP: braking; why", "Safe stop", "SAFE STOP – LKAS viewer"]);
  assert.deepEqual(said.again, said.drives);
  assert.deepEqual(said.silent, said.drives);
  assert.deepEqual(said.unknown.slice(0, 2), ["warn: vehicle unknown: nothing is heard of it", "Unknown"]);

  const ends = await alone.run(async () => {
    const canvas = new OffscreenCanvas(8, 6);
    canvas.getContext("2d").fillRect(0, 0, 8, 6);
    const jpeg = new Uint8Array(await (await canvas.convertToBlob({ type: "image/jpeg" })).arrayBuffer());
    const message = new Uint8Array(28 + jpeg.length);
    const header = new DataView(message.buffer);
    message.set(jpeg, 28);
    header.setUint32(24, jpeg.length, true);
    const live = () => document.getElementById("signal").textContent === "live";
    const ends = [];
    for (let number = 1; number <= 10; number += 1) {
      header.setBigUint64(0, BigInt(number), true);
      // Decoding takes what it takes, and none of the page's own time.
      const decoded = new Promise((resolve) => (socket.sent = ({ type }) => type === "ack" && resolve()));
      socket.hear(message.buffer);
      await decoded;
      let age = 0;
      for (pass(100); live() && age < 1000; age += 10) pass(10);
      ends.push(100 + age);
      // At another moment between two drawings.
      pass(10);
    }
    return ends;
  });
  assert.ok(ends.every((age) => age > 500 && age <= 600), `live ended at an age of ${ends} ms`);
  assert.deepEqual(alone.problems, []);
  await alone.close();
});

test("a page that is opened later has the events of before, each once, and lists who has ended", async () => {
  const alone = await Page.open(browser, system.port, { alone: true });
  const list = await alone.run(() => {
    socket.onopen();
    const event = (number) => ({ number, time_s: number, age_s: 1000 - number, words: `number ${number}` });
    const some = (from, to) => [...Array(to - from + 1).keys()].map((place) => event(from + place));
    const before = some(1, 200).map((event) => ({ process: "viewer", ...event }));
    socket.hear({ type: "values", data: [], events: before });
    // The last ones again, and one more.
    const ended = { name: "viewer", alive: false, silent: true, pid: 1, age_s: 15, restarts: 0, published: 1, events: some(186, 201) };
    socket.hear({ type: "status", data: { vehicle: null, processes: [ended] } });
    socket.hear({ type: "values", data: [], events: before });
    return [...document.getElementById("events").children].map((item) => item.querySelector("b").nextSibling.textContent.trim());
  });
  assert.deepEqual(list, [...Array(200).keys()].map((place) => `number ${201 - place}`));
  await alone.sees("#process-viewer td:nth-of-type(1)", /^not there$/);
  await alone.sees("#process-viewer td:nth-of-type(3)", /^15\.0 s$/);
  await alone.sees("#process-viewer + .event", /^number 201 ·/);
  assert.deepEqual(alone.problems, []);
  await alone.close();
});

test("live ends when no frame comes; the connection is called slow when it is, and not when the page is busy", async () => {
  const way = await slowWay(system.port);
  const slow = await Page.open(browser, way.port);
  await slow.sees("#signal", /^live$/i);
  // A page that is busy itself says nothing about its connection.
  for (let turn = 0; turn < 4; turn += 1) {
    await slow.run(() => {
      const end = performance.now() + 700;
      while (performance.now() < end);
    });
    await sleep(150);
    assert.doesNotMatch(await slow.text("#banner"), /slow/);
  }
  way.delay = 600;
  await slow.sees("#banner", /slow connection/);
  way.delay = 0;
  await slow.sees("#banner", /^$/);
  await slow.sees("#signal", /^live$/i);

  const age = slow.run(() => new Promise((resolve) => {
    let shown = performance.now();
    const number = document.getElementById("frame-number");
    const signal = document.getElementById("signal");
    new MutationObserver(() => {
      if (/\d/.test(number.textContent)) shown = performance.now();
    }).observe(number, { childList: true });
    new MutationObserver(() => signal.textContent === "no signal" && resolve(performance.now() - shown)).observe(signal, { childList: true });
  }));
  await system.alone(async () => {
    await system.signal("SIGKILL", "simulation");
    console.log(`live ends ${Math.round(await age)} ms after the last frame`);
    await slow.sees("#frame-number", /^frame –$/);
  });
  await slow.sees("#signal", /^live$/i);
  assert.deepEqual(slow.problems, []);
  await slow.close();
  way.close();
  await drives();
});

for (const scheme of ["dark", "light"]) {
  test(`axe-core finds nothing, and everything can be hit, in ${scheme}`, async () => {
    for (const [width, height] of [[1600, 900], [1200, 700], [400, 800]]) {
      await page.look({ width, height, scheme });
      await drives();
      assert.deepEqual(await page.findings(), []);
      const small = await page.run(() => [...document.querySelectorAll("button, input, a, summary, select")]
        .filter((element) => element.checkVisibility())
        .map((element) => ({ element, box: element.getBoundingClientRect() }))
        .filter(({ box }) => box.width < 24 || box.height < 24)
        .map(({ element, box }) => `${element.outerHTML.slice(0, 80)} has ${box.width} x ${box.height}`));
      assert.deepEqual(small, []);
      assert.ok(await page.run(() => document.documentElement.scrollWidth <= innerWidth), "nothing sticks out");
      await page.picture(`${scheme}-${width}`);
    }
    await page.look({ width: 1200, height: 700 });
    const shown = await page.run(() => {
      const { width, height } = document.getElementById("video").getBoundingClientRect();
      return Math.min(width, (height * 4) / 3);
    });
    assert.ok(shown >= 600, `the frame is ${shown} pixels wide in a window of 1200x700`);

    // The same while the vehicle is stopped.
    await page.click("#stop");
    await page.sees("#stop", /^Stop latched/);
    assert.deepEqual(await page.findings(), []);
    await page.picture(`${scheme}-stopped`);
    await page.click("#release");
    await drives();
  });
}

test("the page had no error of its own", () => {
  assert.deepEqual(page.problems, []);
});
