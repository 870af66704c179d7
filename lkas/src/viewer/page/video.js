// The picture, with the lanes that were found in that very picture.

/** A picture waits this long for its lanes. */
const WAIT_MS = 150;
/** Lanes older than this belong to no picture that may still come. */
const KEEP_MS = 1000;
/** Pictures that wait at most. */
const WAITING = 12;
const HEADER = 28;

const LANE = { left: "76, 201, 240", right: "76, 201, 240", area: "61, 220, 151" };

/** Pairs pictures and lanes by number; `show(picture, lanes or null)` is called in ascending order. */
export class Pairing {
  #show;
  #waiting = [];
  #lanes = new Map();
  #lanesAt = -Infinity;
  #lastPicture = -1n;
  #lastLanes = -1n;

  constructor(show) {
    this.#show = show;
  }

  /** Forgets everything: numbers that come now are of another run. */
  reset() {
    this.#drop(this.#waiting.length);
    this.#lanes.clear();
    this.#lastPicture = this.#lastLanes = -1n;
  }

  /** `picture` has `id` (BigInt) and `close()`. */
  picture(picture) {
    // The same number again is the same picture; a lower one is of another run.
    if (picture.id < this.#lastPicture) this.reset();
    this.#lastPicture = picture.id;
    this.#waiting.push(picture);
    if (this.#waiting.length > WAITING) this.#drop(1);
    const lanes = this.#lanes.get(picture.id);
    if (lanes && performance.now() - lanes.at <= KEEP_MS) return this.#settle(picture, lanes.data);
    // Where nobody looks for lanes, waiting for them would only make every picture older.
    if (performance.now() - this.#lanesAt > KEEP_MS) return this.#settle(picture, null);
    setTimeout(() => this.#settle(picture, null), WAIT_MS);
  }

  /** The lanes in picture `id` (BigInt). */
  lanes(id, data) {
    const at = performance.now();
    if (id < this.#lastLanes) this.reset();
    this.#lastLanes = id;
    this.#lanesAt = at;
    this.#lanes.set(id, { data, at });
    for (const [old, { at: then }] of this.#lanes) {
      if (at - then > KEEP_MS) this.#lanes.delete(old);
    }
    const picture = this.#waiting.find((waiting) => waiting.id === id);
    if (picture) this.#settle(picture, data);
  }

  #settle(picture, lanes) {
    const place = this.#waiting.indexOf(picture);
    if (place < 0) return;
    this.#waiting.splice(place, 1);
    // Those before it are older: they will not be shown after it.
    this.#drop(place);
    this.#show(picture, lanes);
  }

  #drop(count) {
    for (const picture of this.#waiting.splice(0, count)) picture.close();
  }
}

/** Draws on a canvas that fills its parent. */
export class Video {
  #canvas;
  #context;
  #pairing;
  #picture = null;
  #lanes = null;
  #scheduled = false;
  #onShow;

  constructor(canvas, onShow) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.#onShow = onShow;
    this.#pairing = new Pairing((picture, lanes) => this.#show(picture, lanes));
    new ResizeObserver(() => this.#schedule()).observe(canvas);
  }

  /** For a new connection. */
  reset() {
    this.#pairing.reset();
  }

  /** A binary message from the viewer. Resolves once the next one may come; rejects where it is not a picture. */
  async frame(message) {
    if (message.byteLength < HEADER) throw new Error("a frame without a header");
    const view = new DataView(message);
    if (view.getUint32(24, true) !== message.byteLength - HEADER) throw new Error("a frame of the wrong length");
    const bitmap = await createImageBitmap(new Blob([new Uint8Array(message, HEADER)], { type: "image/jpeg" }));
    this.#pairing.picture({
      id: view.getBigUint64(0, true),
      width: view.getUint32(16, true) || bitmap.width,
      height: view.getUint32(20, true) || bitmap.height,
      bitmap,
      close: () => bitmap.close(),
    });
  }

  /** The `data` of a detection message. */
  detection(data) {
    let id;
    try {
      id = BigInt(data.frame_id);
    } catch {
      return;
    }
    this.#pairing.lanes(id, { left: lane(data.left_lane), right: lane(data.right_lane) });
  }

  #show(picture, lanes) {
    this.#picture?.close();
    this.#picture = picture;
    this.#lanes = lanes;
    this.#schedule();
    this.#onShow(picture.id, lanes);
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#draw();
    });
  }

  #draw() {
    const canvas = this.#canvas;
    const context = this.#context;
    const density = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * density);
    const height = Math.round(canvas.clientHeight * density);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#05070a";
    context.fillRect(0, 0, width, height);
    const picture = this.#picture;
    if (!picture) return;
    const scale = Math.min(width / picture.width, height / picture.height);
    const left = (width - picture.width * scale) / 2;
    const top = (height - picture.height * scale) / 2;
    context.setTransform(scale, 0, 0, scale, left, top);
    context.imageSmoothingQuality = "high";
    context.drawImage(picture.bitmap, 0, 0, picture.width, picture.height);
    if (!this.#lanes) return;
    context.save();
    context.beginPath();
    context.rect(0, 0, picture.width, picture.height);
    context.clip();
    drawLanes(context, this.#lanes, density / scale);
    context.restore();
  }
}

/** The lane with its lower end first, or null where it is not five finite numbers. */
function lane(data) {
  if (!data) return null;
  const { x1, y1, x2, y2, confidence } = data;
  if (![x1, y1, x2, y2, confidence].every(Number.isFinite)) return null;
  const ends = y1 >= y2 ? { x1, y1, x2, y2 } : { x1: x2, y1: y2, x2: x1, y2: y1 };
  return { ...ends, confidence: Math.min(1, Math.max(0, confidence)) };
}

/** `unit` is one pixel of the screen in pixels of the picture. */
function drawLanes(context, { left, right }, unit) {
  if (left && right) drawArea(context, left, right);
  for (const [line, colour] of [[left, LANE.left], [right, LANE.right]]) {
    if (!line) continue;
    const opacity = 0.2 + 0.8 * line.confidence;
    for (const [thickness, strength] of [[12, 0.22], [7, 0.35], [3.5, 1]]) {
      context.beginPath();
      context.moveTo(line.x1, line.y1);
      context.lineTo(line.x2, line.y2);
      context.lineCap = "round";
      context.lineWidth = thickness * unit;
      context.strokeStyle = `rgba(${colour}, ${opacity * strength})`;
      context.stroke();
    }
  }
}

/** The area between the lines, over the heights that both cover. */
function drawArea(context, left, right) {
  const low = Math.min(left.y1, right.y1);
  const high = Math.max(left.y2, right.y2);
  if (low <= high) return;
  const at = (line, y) => line.x1 + ((y - line.y1) * (line.x2 - line.x1)) / (line.y2 - line.y1 || 1);
  const corners = [[at(left, low), low], [at(left, high), high], [at(right, high), high], [at(right, low), low]];
  // Crossed lines enclose no lane.
  if (corners[0][0] >= corners[3][0] || corners[1][0] > corners[2][0]) return;
  const opacity = 0.1 + 0.3 * Math.min(left.confidence, right.confidence);
  const tint = context.createLinearGradient(0, low, 0, high);
  tint.addColorStop(0, `rgba(${LANE.area}, ${opacity})`);
  tint.addColorStop(1, `rgba(${LANE.area}, ${opacity * 0.35})`);
  context.fillStyle = tint;
  context.beginPath();
  for (const corner of corners) context.lineTo(...corner);
  context.closePath();
  context.fill();
}
