// A chart of something over time: a band, a line, dots and a rule, with axes, a readout and the figures as a table.

import { element, setAttributes, setText, svg } from "./dom.js";
import { day, hour, timeWithSeconds } from "./format.js";
import { linear, logarithmic, timeline } from "./scale.js";
import { Table } from "./table.js";

const HEIGHT = 230;
const MARGIN = { top: 14, right: 12, bottom: 26, left: 58 };
// Half the width of a time axis with a single moment on it, seconds.
const AROUND = 1800;
const TICK_WIDTH = 80;

// Figures are {at, value, low, high, recent}, all but the first two optional. How they are drawn:
// {title, columns, format(value), limits(figures) -> {low, high, log}, rule: {value, label}, read(figure) -> text}.
export class Chart {
  constructor() {
    this.title = element("h3");
    this.image = svg("svg", { class: "plot", role: "img", height: HEIGHT });
    this.readout = element("figcaption");
    this.note = element("p", { class: "note" });
    this.table = element("details", {}, element("summary", {}, "Figures as a table"));
    this.node = element("figure", {}, this.title, this.image, this.readout, this.note, this.table);
    this.given = null;
    this.width = 0;
    new ResizeObserver(() => this.#resize()).observe(this.node);
    this.image.addEventListener("pointermove", (event) =>
      this.#point(event.clientX - this.image.getBoundingClientRect().left),
    );
    this.image.addEventListener("pointerleave", () => this.#point(null));
    this.table.addEventListener("toggle", () => this.#tabulate());
  }

  show(figures, how) {
    this.given = { figures, how };
    setText(this.title, how.title);
    setText(this.note, how.limits(figures).log ? "Logarithmic scale; zero stands at the bottom." : "");
    this.#read(figures.at(-1));
    this.#draw();
    this.#tabulate();
  }

  // Drawn at the width that it has, so that its text is as large on a narrow screen.
  #resize() {
    const width = Math.floor(this.node.clientWidth);
    if (width !== this.width) {
      this.width = width;
      this.#draw();
    }
  }

  #draw() {
    if (this.given === null || this.width === 0) {
      return;
    }
    const { figures, how } = this.given;
    const limits = how.limits(figures);
    const latest = figures.at(-1);
    const said = latest === undefined ? "No figures yet." : how.read(latest);
    setAttributes(this.image, { viewBox: `0 0 ${this.width} ${HEIGHT}`, "aria-label": `${how.title}. ${said}` });
    const description = svg("desc", {}, `${figures.length} figures over time, also in the table below. ${said}`);
    this.x = timeline(moments(figures), [MARGIN.left, this.width - MARGIN.right], this.width / TICK_WIDTH);
    const scale = limits.log ? logarithmic : linear;
    this.y = scale([limits.low, limits.high], [HEIGHT - MARGIN.bottom, MARGIN.top]);
    this.cursor = svg("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, visibility: "hidden" });
    this.image.replaceChildren(
      description,
      ...this.#across(how),
      ...(latest === undefined ? this.#nothing() : [...this.#along(), ...this.#marks(figures)]),
      this.#rule(how),
      this.cursor,
    );
  }

  #across({ format }) {
    const [left, right] = [MARGIN.left, this.width - MARGIN.right];
    return this.y.ticks.flatMap((value) => [
      svg("line", { class: "grid", x1: left, x2: right, y1: this.y.at(value), y2: this.y.at(value) }),
      svg("text", { x: left - 6, y: this.y.at(value) + 4, "text-anchor": "end" }, format(value)),
    ]);
  }

  #along() {
    const [left, right, bottom] = [MARGIN.left, this.width - MARGIN.right, HEIGHT - MARGIN.bottom];
    const ticks = this.x.ticks.flatMap((at) => [
      svg("line", { class: "axis", x1: this.x.at(at), x2: this.x.at(at), y1: bottom, y2: bottom + 4 }),
      svg("text", { x: this.x.at(at), y: bottom + 17, "text-anchor": "middle" }, moment(at)),
    ]);
    return [...ticks, svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom })];
  }

  #nothing() {
    return [svg("text", { x: this.width / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "No figures yet")];
  }

  #marks(figures) {
    const banded = figures.filter((figure) => figure.low !== undefined);
    const edge = [
      ...banded.map((figure) => this.#place(figure.at, figure.high)),
      ...banded.map((figure) => this.#place(figure.at, figure.low)).reverse(),
    ];
    const dots = figures
      .filter((figure) => typeof figure.recent === "number")
      .map(({ at, recent }) => svg("circle", { class: "recent", r: 2, cx: this.x.at(at), cy: this.y.at(recent) }));
    const line = figures.map((figure) => this.#place(figure.at, figure.value));
    const last = figures.at(-1);
    return [
      svg("polygon", { class: "band", points: edge.join(" ") }),
      ...dots,
      svg("polyline", { class: "value", points: line.join(" ") }),
      svg("circle", { class: "last", r: 3.5, cx: this.x.at(last.at), cy: this.y.at(last.value) }),
    ];
  }

  #rule({ rule }) {
    const y = this.y.at(rule.value);
    const right = this.width - MARGIN.right;
    // Below the line where there is no room above it.
    const below = y < MARGIN.top + 12;
    return svg(
      "g",
      { class: "rule" },
      svg("line", { x1: MARGIN.left, x2: right, y1: y, y2: y }),
      svg("text", { x: right, y: below ? y + 14 : y - 5, "text-anchor": "end" }, rule.label),
    );
  }

  #place(at, value) {
    return `${this.x.at(at).toFixed(1)},${this.y.at(value).toFixed(1)}`;
  }

  // Read out what is below the pointer; null: the latest.
  #point(x) {
    const { figures } = this.given;
    const figure = x === null ? figures.at(-1) : nearest(figures, x, this.x);
    this.#read(figure);
    if (x === null || figure === undefined) {
      setAttributes(this.cursor, { visibility: "hidden" });
    } else {
      setAttributes(this.cursor, { visibility: "visible", x1: this.x.at(figure.at), x2: this.x.at(figure.at) });
    }
  }

  #read(figure) {
    const { read } = this.given.how;
    setText(this.readout, figure === undefined ? "No figures yet." : `${timeWithSeconds(figure.at)}: ${read(figure)}`);
  }

  // The table is only made when somebody opens it.
  #tabulate() {
    if (!this.table.open || this.given === null) {
      return;
    }
    const { figures, how } = this.given;
    if (this.rows === undefined) {
      this.rows = new Table(`${how.title}, the newest first`, how.columns, (figure) => figure.at, "No figures yet.");
      this.table.append(this.rows.node);
    }
    this.rows.show(figures.toReversed());
  }
}

function moments(figures) {
  const [first, last] = [figures.at(0)?.at ?? 0, figures.at(-1)?.at ?? 0];
  return first === last ? [first - AROUND, last + AROUND] : [first, last];
}

// The day at midnight, the time at other times.
function moment(at) {
  return hour(at) === "00:00" ? day(at).slice(5) : hour(at);
}

function nearest(figures, x, scale) {
  const distance = (figure) => Math.abs(scale.at(figure.at) - x);
  return figures.reduce((best, figure) => (distance(figure) < distance(best) ? figure : best), figures[0]);
}
