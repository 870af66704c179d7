// The WebSocket to the viewer: connects, notices when it dies, connects again.

/** The viewer says something at least every half second; after this long without a word the connection is dead. */
const SILENCE_MS = 2500;
const RETRY_MS = [250, 500, 1000, 2000];

/**
 * Calls `on.open()`, `on.close()`, `on.frame(ArrayBuffer)` and `on.text(object)`.
 */
export class Link {
  #on;
  #socket = null;
  #heard = 0;
  #attempt = 0;

  constructor(on) {
    this.#on = on;
    this.#connect();
    setInterval(() => {
      if (this.#socket && performance.now() - this.#heard > SILENCE_MS) this.#lost(this.#socket);
    }, 500);
  }

  /** Whether a message sent now would leave. */
  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Sends an object; false where there is no connection. */
  send(message) {
    if (!this.open) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws`);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#heard = performance.now();
    socket.onopen = () => {
      this.#attempt = 0;
      this.#on.open();
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      this.#heard = performance.now();
      if (data instanceof ArrayBuffer) this.#on.frame(data);
      else this.#text(data);
    };
    socket.onclose = () => this.#lost(socket);
  }

  #text(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    this.#on.text(message);
  }

  #lost(socket) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    socket.onclose = null;
    socket.close();
    this.#on.close();
    const wait = RETRY_MS[Math.min(this.#attempt, RETRY_MS.length - 1)];
    this.#attempt += 1;
    setTimeout(() => this.#connect(), wait);
  }
}
