// Puts the parts of the page together.

import { Instruments } from "./instruments.js";
import { Alarm } from "./alarm.js";
import { Charts } from "./charts.js";
import { Commands } from "./commands.js";
import { EmergencyStop } from "./stop.js";
import { Link } from "./link.js";
import { Parameters } from "./parameters.js";
import { Processes, stagesOf } from "./processes.js";
import { Video } from "./video.js";

/** Without a new frame for this long, the one on the screen is not live. */
const SIGNAL_MS = 500;
/** A broker that says nothing for this long is silent: it speaks ten times a second. */
const SILENT_MS = 1000;
/** Without an answer for this long, a broker is taken for one that gives none. */
const ANSWER_MS = 2000;
/** A frame that takes this long to arrive is worth a warning. */
const SLOW_MS = 400;
const WORDS = { pause: "Pause", resume: "Resume", respawn: "Respawn", release_emergency_stop: "Release" };
/** Every 100 ms: a status older than this is none. */
const STATUS_MS = 500;

const at = (id) => document.getElementById(id);
const instruments = new Instruments();
const video = new Video(at("video"), shown);
const parameters = new Parameters(at("parameters"), (message) => link.send(message));
const alarm = new Alarm(at("mute"));
const processes = new Processes(at("processes"), at("stages"), at("events"));
const stop = new EmergencyStop(at("stop"), at("release"), (action) => send(action));
const commands = new Commands(at("commands"));
const unanswered = new Map();
let shownAt = -Infinity;
let shownTimes = [];
/** What the last action asked for, for brokers that do not say whether the vehicle is paused. */
let assumePaused = false;
let broker = null;
let brokerAt = -Infinity;
let undecodable = false;
let stages = new Map();
let stagesAt = -Infinity;

const link = new Link({
  open() {
    video.reset();
    draw();
  },
  close() {
    parameters.disconnected();
    instruments.forget();
    processes.forget();
    stop.vehicle(null);
    commands.forget();
    unanswered.clear();
    broker = null;
    draw();
  },
  frame(message) {
    video.frame(message).then(() => (undecodable = false), () => {
      if (!undecodable) toast("bad", "A frame from the broker could not be decoded.");
      undecodable = true;
    }).finally(() => link.send({ type: "ack" }));
  },
  text: receive,
});

function receive(message) {
  const { type, data } = message;
  switch (type) {
    case "hello":
      parameters.build(message.parameters);
      at("link-broker").title = message.broker;
      break;
    case "values":
      parameters.values(data);
      processes.log(message.events);
      break;
    case "link":
      broker = message;
      brokerAt = performance.now();
      break;
    case "detection":
      instruments.detection(data);
      video.detection(data);
      break;
    case "state":
      instruments.state(data);
      break;
    case "telemetry":
      instruments.telemetry(data);
      break;
    case "status":
      instruments.status(data);
      processes.show(data);
      parameters.declared(data?.processes);
      stop.vehicle(data?.vehicle);
      commands.show(data?.commands);
      stages = stagesOf(data?.processes);
      stagesAt = performance.now();
      // At once: this is what a person must see first.
      draw();
      break;
    case "parameter_status":
      parameters.status(data);
      break;
    case "action_status":
      answered(data);
      break;
    case "error":
      if (message.action) unanswered.delete(message.action);
      if (message.action === "emergency_stop") {
        stop.answered({ accepted: false, reason: message.message });
        break;
      }
      if (!parameters.error(message)) toast("bad", message.message);
      break;
  }
}

function shown(id, lanes) {
  shownAt = performance.now();
  shownTimes.push(shownAt);
  at("frame-number").textContent = `frame ${id}`;
  for (const side of ["left", "right"]) {
    const line = lanes?.[side];
    at(`lane-${side}`).textContent = line ? `${side} ${Math.round(100 * line.confidence)} %` : `${side} –`;
    at(`lane-${side}`).classList.toggle("found", Boolean(line));
  }
  at("lane-note").textContent = lanes ? (lanes.left || lanes.right ? "" : "no lines found") : "no detection of this frame";
  at("lane-note").hidden = at("lane-note").textContent === "";
}

// --- actions

function send(action) {
  const sent = link.send({ type: "action", action });
  // The emergency stop is asked for again and again, and says itself what came of it.
  if (action === "emergency_stop") return sent;
  if (sent) unanswered.set(action, performance.now());
  else toast("bad", `${WORDS[action]} not sent: no connection to the viewer.`);
  return sent;
}

function act(action) {
  if (!send(action)) return;
  if (action !== "respawn") assumePaused = action === "pause";
  const button = document.querySelector(`[data-action=${action}]`);
  button.classList.remove("sent");
  void button.offsetWidth; // starts the animation again
  button.classList.add("sent");
}

function answered(data) {
  if (data?.action === "emergency_stop") return stop.answered(data);
  const name = WORDS[data?.action] ?? String(data?.action);
  const reason = typeof data?.reason === "string" && data.reason ? `: ${data.reason}` : "";
  unanswered.delete(data?.action);
  if (data?.accepted === false) toast("bad", `${name} refused${reason}.`);
  else if (data?.delivered === false) toast("warn", `${name}: nobody received it${reason}.`);
  else toast("good", `${name} delivered.`);
}

function togglePause() {
  act(instruments.paused ?? assumePaused ? "resume" : "pause");
}

for (const button of document.querySelectorAll("[data-action]")) {
  button.addEventListener("click", () => act(button.dataset.action));
}

// A button that was clicked keeps the focus, and Space would press it again where a person means "pause".
document.addEventListener("click", (event) => {
  if (event.detail > 0) event.target.closest("button")?.blur();
});

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.key.toLowerCase() === "e") {
    // Also while somebody types: no number here needs this letter.
    event.preventDefault();
    return stop.ask();
  }
  const target = event.target;
  const typing = target.matches("input:not([type=range]), textarea, select, [contenteditable]");
  if (typing) return;
  if (event.code === "Space") {
    // On a button that the keyboard chose, Space means that button.
    if (target.closest("button, summary, a")) return;
    event.preventDefault();
    togglePause();
  } else if (event.key.toLowerCase() === "r") {
    event.preventDefault();
    act("respawn");
  }
});

// --- what a person must not overlook

function toast(kind, words) {
  const toasts = at("toasts");
  const last = toasts.lastElementChild;
  if (last?.textContent === words) last.remove();
  const element = Object.assign(document.createElement("p"), { className: "toast", textContent: words });
  element.dataset.kind = kind;
  toasts.append(element);
  while (toasts.children.length > 4) toasts.firstElementChild.remove();
  setTimeout(() => element.remove(), kind === "good" ? 2500 : 7000);
}

function put(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

function pill(id, state, words) {
  const element = at(id);
  element.dataset.state = state;
  put(element.lastElementChild, words);
}

const seconds = (ms) => (ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`);

function rate() {
  return link.open && performance.now() - shownAt <= SIGNAL_MS ? shownTimes.length : null;
}

function draw() {
  const now = performance.now();
  const age = now - shownAt;
  const live = link.open && age <= SIGNAL_MS;
  const paused = instruments.paused;
  shownTimes = shownTimes.filter((time) => now - time <= 1000);

  const took = typeof broker?.frame_ms === "number" && now - brokerAt <= SIGNAL_MS * 2 ? `, ${Math.round(broker.frame_ms)} ms` : "";
  pill("link-viewer", link.open ? "good" : "bad", link.open ? `connected${took}` : "lost, reconnecting");
  drawBroker(now);
  commands.draw();

  at("stage").dataset.signal = live ? (paused ? "paused" : "live") : shownAt === -Infinity ? "none" : "frozen";
  put(at("signal"), live ? (paused ? "paused" : "live") : "no signal");
  if (!live) put(at("frame-number"), "frame –");
  put(at("frame-rate"), live ? `${shownTimes.length} fps` : "– fps");
  drawOverlay(live, paused, age);
  drawBanner();
  document.body.classList.toggle("offline", !link.open);
  for (const button of document.querySelectorAll("[data-action]")) button.setAttribute("aria-disabled", String(!link.open));
  const resume = paused ?? false;
  document.querySelector("[data-action=resume]").classList.toggle("primary", resume);
  for (const [action, at] of unanswered) {
    if (now - at < ANSWER_MS) continue;
    unanswered.delete(action);
    toast("warn", `${WORDS[action]} sent. The broker did not say whether it arrived.`);
  }
  instruments.draw(rate());
}

function drawBroker(now) {
  if (!link.open || !broker) return pill("link-broker", "wait", "unknown");
  if (broker.fault) {
    at("link-broker").title = broker.fault;
    return pill("link-broker", "bad", broker.fault);
  }
  if (broker.last_message_ms === null) return pill("link-broker", "bad", "no data yet");
  const silent = broker.last_message_ms + (now - brokerAt);
  if (silent > SILENT_MS) return pill("link-broker", "bad", `silent for ${seconds(silent)}`);
  const trip = broker.broker?.round_trip_ms;
  pill("link-broker", "good", typeof trip === "number" ? `receiving, ${Math.round(trip)} ms` : "receiving");
}

function drawOverlay(live, paused, age) {
  let words = null;
  if (!link.open) words = ["No signal", "The connection to the viewer is lost. Trying again."];
  else if (!live && shownAt === -Infinity) words = ["No signal", "No frame has come from the broker yet."];
  else if (!live) words = [paused ? "Paused" : "No signal", `This frame is ${seconds(age)} old.`];
  else if (paused) words = ["Paused", "Press Space to resume."];
  const overlay = at("overlay");
  overlay.hidden = words === null;
  if (words) [...overlay.children].forEach((child, place) => put(child, words[place]));
}

function drawBanner() {
  const slow = (broker?.frame_ms ?? 0) > SLOW_MS && link.open;
  const asked = stop.notice;
  const notice = asked ? { text: asked, severe: true } : link.open ? instruments.notice : null;
  alarm.set(notice?.severe ?? false);
  const words = notice?.text ?? (slow ? `slow connection: frames arrive ${seconds(broker.frame_ms)} late` : "");
  const banner = at("banner");
  banner.hidden = words === "";
  banner.dataset.kind = notice?.severe ? "bad" : "warn";
  put(banner, words);
  // A person may look at another tab.
  const title = notice?.severe ? `${stop.state === "latched" || asked ? "EMERGENCY" : "SAFE"} STOP – LKAS viewer` : "LKAS viewer";
  if (document.title !== title) document.title = title;
}

setInterval(draw, 100);
new Charts(at("charts"), () => {
  const fresh = performance.now() - stagesAt <= STATUS_MS && link.open;
  const measured = fresh ? [...stages].filter(([, figures]) => figures.p50 !== undefined) : [];
  return { values: instruments.values, stages: Object.fromEntries(measured.map(([name, { p50 }]) => [`${name}, median`, p50])) };
});
draw();
