// How far tokens lie below the replay's choice, against what calibration allows.

import { element, byId, setAttributes, setText, svg } from "./dom.js";
import { compact, count, number, orDash } from "./format.js";
import { logarithmic } from "./scale.js";
import { Table } from "./table.js";

const HEIGHT = 300;
const MARGIN = { top: 22, right: 12, bottom: 64, left: 58 };
// Of a bar's place.
const GAP = 0.2;

const section = byId("margins");
const content = section.querySelector(".content");
const image = svg("svg", { class: "plot", role: "img", height: HEIGHT });
const figure = element("figure", { class: "wide" }, image);
const table = new Table(
  "Tokens by margin",
  [
    { title: "margin, logits", text: label },
    { title: "tokens", number: true, text: (bin) => count(bin.observed) },
    { title: "expected at most", number: true, text: (bin) => orDash(bin.expected_at_most, number) },
    {
      title: "remark",
      text: (bin) => remarks(bin).join(", "),
      tone: (bin) => (bin.place === "beyond" && bin.observed > 0 ? "dangerous" : null),
    },
  ],
  (bin) => `${bin.low} ${bin.high}`,
  "Nothing was audited yet.",
);
let given = null;
let width = 0;

content.append(figure, element("details", {}, element("summary", {}, "Figures as a table"), table.node));
new ResizeObserver(() => {
  if (figure.clientWidth !== width) {
    width = figure.clientWidth;
    draw();
  }
}).observe(figure);

function show(margins) {
  setText(
    section.querySelector(".about"),
    `How many logits the tokens that were sent lie below the replay's choice: ${count(margins.tokens)} audited ` +
      "tokens. Marks: what calibration allows at most. Hatched: beyond the threshold of " +
      `${number(margins.threshold)} logits (red), or cut by it (amber).`,
  );
  figure.hidden = margins.bins.length === 0;
  given = {
    threshold: margins.threshold,
    bins: margins.bins.map((bin) => ({ ...bin, place: placeOf(bin, margins.threshold) })),
  };
  table.show(given.bins);
  draw();
}

function label({ low, high }) {
  if (high === null) {
    return `over ${number(low)}`;
  }
  return high === 0 ? "0" : `to ${number(high)}`;
}

// within, beyond, or across: a bin that the threshold cuts may hold tokens of both kinds.
function placeOf({ low, high }, threshold) {
  if (low >= threshold) {
    return "beyond";
  }
  return high === null || high > threshold ? "across" : "within";
}

function remarks(bin) {
  const more = bin.expected_at_most !== null && bin.observed > bin.expected_at_most;
  return [...(bin.place === "within" ? [] : [`${bin.place} the threshold`]), ...(more ? ["more than expected"] : [])];
}

function draw() {
  if (given === null || width === 0) {
    return;
  }
  const { bins, threshold } = given;
  const most = Math.max(10, ...bins.flatMap((bin) => [bin.observed, bin.expected_at_most ?? 0]));
  // A single token has a bar as well.
  const y = logarithmic([0.5, most * 1.5], [HEIGHT - MARGIN.bottom, MARGIN.top]);
  const place = (width - MARGIN.left - MARGIN.right) / Math.max(bins.length, 1);
  setAttributes(image, { viewBox: `0 0 ${width} ${HEIGHT}`, "aria-label": summary(given) });
  image.replaceChildren(
    svg("desc", {}, "A histogram with a logarithmic scale; its figures are also in the table below."),
    ...axes(y),
    ...bins.map((bin, at) => bar(bin, MARGIN.left + at * place, place, y)),
    ...thresholdMark(bins, threshold, place),
  );
}

function summary({ bins, threshold }) {
  const beyond = bins.filter((bin) => bin.place === "beyond").reduce((sum, bin) => sum + bin.observed, 0);
  const more = bins.filter((bin) => remarks(bin).includes("more than expected")).map(label);
  return (
    `Tokens by margin: ${count(beyond)} beyond the threshold of ${number(threshold)} logits; ` +
    (more.length === 0 ? "no bin has more than expected." : `more than expected in ${more.join(", ")}.`)
  );
}

function axes(y) {
  const right = width - MARGIN.right;
  const bottom = HEIGHT - MARGIN.bottom;
  return [
    ...y.ticks.flatMap((value) => [
      svg("line", { class: "grid", x1: MARGIN.left, x2: right, y1: y.at(value), y2: y.at(value) }),
      svg("text", { x: MARGIN.left - 6, y: y.at(value) + 4, "text-anchor": "end" }, compact(value)),
    ]),
    svg("line", { class: "axis", x1: MARGIN.left, x2: right, y1: bottom, y2: bottom }),
    svg("text", { x: right, y: HEIGHT - 4, "text-anchor": "end" }, "margin, logits"),
  ];
}

function bar(bin, left, place, y) {
  const bottom = HEIGHT - MARGIN.bottom;
  const x = left + (place * GAP) / 2;
  const wide = place * (1 - GAP);
  const expected = orDash(bin.expected_at_most, number);
  const parts = [svg("title", {}, `margin ${label(bin)}: ${count(bin.observed)} tokens, expected at most ${expected}`)];
  if (bin.observed > 0) {
    const top = y.at(bin.observed);
    const box = { x, y: top, width: wide, height: bottom - top };
    parts.push(svg("rect", { class: `bar ${bin.place}`, ...box }));
    if (bin.place !== "within") {
      parts.push(svg("path", { class: "hatch", d: hatch(box) }));
    }
  }
  if (bin.expected_at_most !== null) {
    const mark = y.at(bin.expected_at_most);
    parts.push(svg("path", { class: "expected", d: `M${left} ${mark}H${left + place}` }));
  }
  const middle = left + place / 2;
  parts.push(svg("text", { transform: `translate(${middle - 3} ${bottom + 12}) rotate(50)` }, label(bin)));
  return svg("g", {}, ...parts);
}

// Lines across a bar: what is beyond shows without colour, too.
function hatch({ x, y, width: wide, height }) {
  const lines = [];
  for (let down = 4; down < height; down += 6) {
    lines.push(`M${x} ${y + down}H${x + wide}`);
  }
  return lines.join("");
}

function thresholdMark(bins, threshold, place) {
  const first = bins.findIndex((bin) => bin.high === null || bin.high > threshold);
  if (first === -1) {
    return [];
  }
  const { low, high } = bins[first];
  const within = high === null ? 0 : Math.max(0, (threshold - low) / (high - low));
  const x = MARGIN.left + (first + within) * place;
  const right = x > width / 2;
  return [
    svg("path", { class: "threshold", d: `M${x} ${MARGIN.top - 14}V${HEIGHT - MARGIN.bottom}` }),
    svg(
      "text",
      { x: right ? x - 5 : x + 5, y: MARGIN.top - 6, "text-anchor": right ? "end" : "start" },
      `threshold ${number(threshold)}`,
    ),
  ];
}

export const margins = { section, path: () => "margins", show };
