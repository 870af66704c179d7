// The last minute as lines, drawn by uPlot, which is a script of its own.

const SPAN_S = 60;
const EVERY_MS = 100;
/** Nothing is drawn across a longer silence: there was no value. */
const SILENCE_S = 2;
const HEIGHT = 92;
const COLOURS = ["--accent", "--good", "--warn", "--bad", "--violet", "--dim"];

/** Each chart's series: the name of the value and what it is called. */
const CHARTS = [
  { title: "Offset", unit: "m", digits: 2, floor: 0.5, both: true, series: { offset: "offset" } },
  { title: "Heading", unit: "°", digits: 1, floor: 5, both: true, series: { heading: "heading" } },
  { title: "Steering", unit: "", digits: 2, floor: 0.3, both: true, series: { steering: "vehicle", steering_wanted: "command" } },
  { title: "Throttle and brake", unit: "%", digits: 0, floor: 100, series: { throttle: "throttle", brake: "brake" } },
  { title: "Speed", unit: "km/h", digits: 1, floor: 20, series: { speed: "speed" } },
  { title: "Latency", unit: "ms", digits: 1, floor: 5, stages: true, series: { latency: "camera to control" } },
];

class Chart {
  #about;
  #element = document.createElement("section");
  #legend = document.createElement("p");
  #frame = document.createElement("div");
  #plot = null;
  #times = [];
  #series = new Map();

  constructor(root, about) {
    this.#about = about;
    this.#element.className = "chart";
    const title = Object.assign(document.createElement("h3"), { textContent: about.title });
    this.#legend.className = "keys";
    this.#frame.setAttribute("role", "img");
    this.#frame.setAttribute("aria-label", `${about.title} over the last ${SPAN_S} s`);
    this.#element.append(title, this.#legend, this.#frame);
    root.append(this.#element);
    for (const [name, words] of Object.entries(about.series)) this.#line(name, words);
  }

  #line(name, words) {
    const output = document.createElement("output");
    const key = document.createElement("span");
    key.append(document.createElement("i"), `${words} `, output);
    this.#legend.append(key);
    this.#series.set(name, { words, output, key, values: this.#times.map(() => null) });
    this.forget();
  }

  /** `values` has a number or null for each name; `stages` are further series. */
  add(time, values, stages) {
    if (this.#about.stages) {
      for (const name of Object.keys(stages)) if (!this.#series.has(name)) this.#line(name, name);
      values = { ...values, ...stages };
    }
    const gap = this.#times.length && time - this.#times.at(-1) > SILENCE_S;
    for (const at of gap ? [this.#times.at(-1) + 0.001, time] : [time]) {
      this.#times.push(at);
      for (const [name, series] of this.#series) series.values.push(at === time ? values[name] ?? null : null);
    }
    while (this.#times.length && time - this.#times[0] > SPAN_S) {
      this.#times.shift();
      for (const { values } of this.#series.values()) values.shift();
    }
    for (const { output, values } of this.#series.values()) {
      const value = values.at(-1);
      // Adding 0 takes the sign from a zero.
      const words = value === null ? "–" : `${(Number(value.toFixed(this.#about.digits)) + 0).toFixed(this.#about.digits)} ${this.#about.unit}`.trim();
      if (output.textContent !== words) output.textContent = words;
    }
  }

  /** Builds the drawing anew at the next look: there is another line, or the colours are others. */
  forget() {
    this.#plot?.destroy();
    this.#plot = null;
  }

  draw(now) {
    const width = this.#frame.clientWidth;
    if (width === 0) return; // Nobody sees it.
    this.#plot ??= this.#build(width, now);
    if (this.#plot.width !== width) this.#plot.setSize({ width, height: HEIGHT });
    this.#plot.batch(() => {
      this.#plot.setData([this.#times, ...[...this.#series.values()].map(({ values }) => values)], false);
      this.#plot.setScale("x", { min: now - SPAN_S, max: now });
      this.#plot.setScale("y", this.#range());
    });
  }

  #build(width, now) {
    const style = getComputedStyle(this.#frame);
    // As a computed colour: a canvas knows neither variables nor schemes.
    const colour = (name) => {
      this.#frame.style.color = `var(${name})`;
      return style.color;
    };
    let place = 0;
    const series = [...this.#series.values()].map(({ key }) => {
      const stroke = colour(COLOURS[place % COLOURS.length]);
      const dash = place >= COLOURS.length ? [4, 3] : undefined;
      place += 1;
      key.firstElementChild.style.background = stroke;
      return { stroke, dash, width: 1.5, points: { show: false } };
    });
    const axis = { stroke: colour("--dim"), font: `11px ${style.fontFamily}`, ticks: { show: false } };
    const grid = { stroke: colour("--edge"), width: 1 };
    const options = {
      width,
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      padding: [7, 4, 7, 0],
      scales: { x: { time: false, auto: false, min: now - SPAN_S, max: now }, y: { auto: false, ...this.#range() } },
      axes: [{ show: false }, { ...axis, grid, size: 38, space: 26 }],
      series: [{}, ...series],
    };
    return new uPlot(options, [[], ...series.map(() => [])], this.#frame);
  }

  #range() {
    const { floor, both } = this.#about;
    let top = floor;
    for (const { values } of this.#series.values()) for (const value of values) top = Math.max(top, 1.05 * Math.abs(value ?? 0));
    return { min: both ? -top : 0, max: top };
  }
}

export class Charts {
  #charts;

  /** `sample()` returns the values of now, and of each stage of the latency. */
  constructor(root, sample) {
    this.#charts = CHARTS.map((about) => new Chart(root, about));
    setInterval(() => {
      const { values, stages } = sample();
      for (const chart of this.#charts) chart.add(performance.now() / 1000, values, stages);
    }, EVERY_MS);
    setInterval(() => this.#charts.forEach((chart) => chart.draw(performance.now() / 1000)), 2 * EVERY_MS);
    matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => this.#charts.forEach((chart) => chart.forget()));
  }
}
