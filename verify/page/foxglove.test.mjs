// The viewer's port as Foxglove and Lichtblick see it: by the protocol's own client, from a system that drives.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import protocol from "@foxglove/ws-protocol";
import jpeg from "jpeg-js";
import WebSocket from "ws";
import { System, failed, test, until } from "./system.mjs";

/** Frames a client may get late after it has not read for a while: what was under way, and what has waited in the network. */
const LATE_FRAMES = 2;

/** How long a client does not read: at 30 frames a second, far more frames than may be late. */
const PAUSE_MS = 3000;

let system;
let client;

/** The protocol's client, with what it has heard. */
class Client {
  channels = [];
  services = [];
  problems = [];
  values = new Map();
  answers = new Map();
  messages = new Map();
  #sdk;
  #socket;

  static async open(path, subprotocol, headers = {}) {
    const client = new Client();
    const address = `ws://localhost:${system.port}${path}`;
    client.#socket = new WebSocket(address, [subprotocol], { headers, perMessageDeflate: false });
    client.#sdk = new protocol.FoxgloveClient({ ws: client.#socket });
    client.#sdk.on("error", (error) => client.problems.push(String(error)));
    client.#sdk.on("status", ({ message }) => client.problems.push(message));
    client.#sdk.on("serverInfo", (info) => (client.info = info));
    client.#sdk.on("advertise", (channels) => client.channels.push(...channels));
    client.#sdk.on("advertiseServices", (services) => client.services.push(...services));
    client.#sdk.on("parameterValues", ({ parameters, id }) => {
      for (const { name, value } of parameters) client.values.set(name, value);
      client.answers.set(id, parameters);
    });
    client.#sdk.on("serviceCallResponse", ({ callId, data }) => client.answers.set(callId, parsed(data)));
    client.#sdk.on("serviceCallFailure", ({ callId, message }) => client.answers.set(callId, { failure: message }));
    client.#sdk.on("message", ({ subscriptionId, timestamp, data }) => {
      client.messages.get(subscriptionId)?.push({ at: Number(timestamp / 1000n) / 1000, value: parsed(data) });
    });
    await until(() => `a greeting; heard was ${client.problems}`, () => client.services.length > 0);
    assert.equal(client.#socket.protocol, subprotocol);
    return client;
  }

  /** The messages of that topic from now on: when, in milliseconds since 1970, and what. */
  follow(topic) {
    const channel = this.channels.find((channel) => channel.topic === topic);
    assert.ok(channel, `${topic} among ${this.channels.map((channel) => channel.topic)}`);
    const messages = [];
    this.messages.set(this.#sdk.subscribe(channel.id), messages);
    return messages;
  }

  /** The answer of a service. */
  async call(name) {
    const service = this.services.find((service) => service.name === name);
    assert.ok(service, `${name} among ${this.services.map((service) => service.name)}`);
    const callId = 100 + this.answers.size;
    const data = new TextEncoder().encode("{}");
    this.#sdk.sendServiceCallRequest({ serviceId: service.id, callId, encoding: "json", data });
    return until(`an answer of ${name}`, () => this.answers.get(callId));
  }

  /** Asks for values of parameters; the values in force after it. */
  async set(values) {
    const id = `set ${this.answers.size}`;
    this.#sdk.setParameters(Object.entries(values).map(([name, value]) => ({ name, value, type: "float64" })), id);
    await until(`an answer to ${JSON.stringify(values)}`, () => this.answers.get(id));
  }

  async all() {
    this.#sdk.getParameters([], "all");
    this.#sdk.subscribeParameterUpdates([]);
    await until("all parameters", () => this.answers.get("all"));
  }

  pause = () => this.#socket.pause();
  resume = () => this.#socket.resume();
  close = () => this.#sdk.close();
}

function parsed(view) {
  return JSON.parse(Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString());
}

const newest = (messages, fits = () => true) => (messages.length && fits(messages.at(-1).value) ? messages.at(-1) : null);

before(async () => {
  system = await System.start(process.env.LKAS);
  const [, token] = await until("the token", () => /the token for programs is ([0-9a-f]+)/.exec(system.said));
  // As the page of Foxglove asks, which comes from elsewhere.
  client = await Client.open(`/?token=${token}`, "foxglove.websocket.v1", { Origin: "https://app.foxglove.dev" });
});

after(async () => {
  if (failed) console.log(`the client heard: ${client?.problems.join("\n")}\nthe processes said:\n${system?.said.slice(-3000)}`);
  client?.close();
  await system?.stop();
});

test("channels describe themselves", () => {
  assert.ok(["parameters", "parametersSubscribe", "services"].every((name) => client.info.capabilities.includes(name)));
  const names = client.channels.map((channel) => channel.schemaName);
  for (const name of ["foxglove.CompressedImage", "foxglove.ImageAnnotations", "foxglove.Log"]) {
    assert.ok(names.includes(name), `${name} among ${names}`);
  }
  for (const { schema } of client.channels) assert.equal(JSON.parse(schema).type, "object");
});

test("frames are JPEG, and the lanes belong to them", async () => {
  const [frames, lanes, state] = ["/camera_feed", "/lanes", "/vehicle_state"].map((topic) => client.follow(topic));
  const { value } = await until("a frame", () => newest(frames));
  const picture = jpeg.decode(Buffer.from(value.data, "base64"));
  assert.deepEqual([picture.width, picture.height], [800, 600]);
  const found = await until("both lanes", () => newest(lanes, ({ points }) => points.length === 2));
  const [left, right] = found.value.points.map(({ points }) => points[0].x);
  assert.ok(left < right, `${left} < ${right}`);
  await until("the frame of these lanes", () => {
    const times = new Set(frames.map(({ at }) => at));
    return lanes.some(({ at }) => times.has(at));
  });
  await until("it drives", () => newest(state, ({ speed_kmh }) => speed_kmh > 1));
});

test("a parameter is set, and is in force", async () => {
  await client.all();
  const before = client.values.get("decision.kp");
  assert.equal(typeof before, "number", JSON.stringify([...client.values]));
  const wanted = before === 0.75 ? 0.8 : 0.75;
  await client.set({ "decision.kp": wanted });
  assert.equal(client.values.get("decision.kp"), wanted);
  // Its server says so itself, to everybody.
  const other = await Client.open("/foxglove", "foxglove.sdk.v1");
  await until("the value at another client", async () => {
    await other.all();
    return other.values.get("decision.kp") === wanted;
  });
  other.close();
  await client.set({ "decision.kp": 99 });
  assert.match(client.problems.at(-1), /0 to 2/);
  assert.equal(client.values.get("decision.kp"), wanted);
});

test("a client that stops reading holds up nobody, and sees no old frames after it", async () => {
  const slow = await Client.open("/", "foxglove.sdk.v1");
  const [late, frames] = [slow.follow("/camera_feed"), client.follow("/camera_feed")];
  await until("frames at both", () => late.length > 2 && frames.length > 2);
  slow.pause();
  const [before, start] = [frames.length, late.length];
  await sleep(PAUSE_MS);
  await until("frames for who reads", () => frames.length > before + 10);
  const resumed = Date.now();
  slow.resume();
  await until("a new frame", () => late.some(({ at }) => at >= resumed));
  const old = late.slice(start).filter(({ at }) => at < resumed - 1000);
  assert.ok(old.length <= LATE_FRAMES, `${old.length} old frames of ${frames.length - before}`);
  slow.close();
});

test("who shows no token watches and does not command", async () => {
  const stranger = await Client.open("/", "foxglove.websocket.v1");
  assert.match((await stranger.call("/pause")).failure, /token/);
  await stranger.set({ "decision.kp": 0.1 });
  assert.match(stranger.problems.at(-1), /token/);
  stranger.close();
  await assert.rejects(
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://localhost:${system.port}/`, ["foxglove.sdk.v1"], { headers: { Origin: "https://evil.example" } });
      socket.on("open", resolve).on("error", reject);
    }),
    /403/,
  );
});

test("an emergency stop stops the vehicle until it is released", async () => {
  const [status, events] = [client.follow("/status"), client.follow("/events")];
  const answer = await client.call("/emergency_stop");
  assert.equal(answer.accepted, true, JSON.stringify(answer));
  await until("the vehicle says so", () => newest(status, ({ vehicle }) => vehicle.latched && /by a person/.test(vehicle.reason)));
  await until("an event", () => events.some(({ value }) => /emergency stop/.test(value.message)));
  await client.call("/release_emergency_stop");
  await until("it is released", () => newest(status, ({ vehicle }) => vehicle.latched === false));
});
