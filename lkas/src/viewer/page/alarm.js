// A sound while the vehicle is in a safe stop or an emergency stop, which can be muted.

const BEEP_MS = 900;

export class Alarm {
  #button;
  #context = null;
  #timer = null;
  #muted = localStorage.getItem("muted") === "yes";

  constructor(button) {
    this.#button = button;
    button.addEventListener("click", () => {
      this.#muted = !this.#muted;
      localStorage.setItem("muted", this.#muted ? "yes" : "no");
      this.#draw();
    });
    // Browsers let a page make sounds only after a person has touched it.
    for (const touch of ["pointerdown", "keydown"]) {
      addEventListener(touch, () => (this.#context ??= new AudioContext()), { once: true });
    }
    this.#draw();
  }

  set(on) {
    if (on === (this.#timer !== null)) return;
    clearInterval(this.#timer);
    this.#timer = on ? setInterval(() => this.#beep(), BEEP_MS) : null;
    if (on) this.#beep();
  }

  #beep() {
    if (this.#muted || this.#context?.state !== "running") return;
    const now = this.#context.currentTime;
    const tone = new OscillatorNode(this.#context, { type: "square", frequency: 880 });
    const volume = new GainNode(this.#context, { gain: 0.08 });
    tone.connect(volume).connect(this.#context.destination);
    tone.start(now);
    tone.stop(now + 0.18);
  }

  #draw() {
    this.#button.setAttribute("aria-pressed", String(this.#muted));
    this.#button.textContent = this.#muted ? "Sound off" : "Sound on";
  }
}
