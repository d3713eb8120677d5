// The limit of the series over time, the watched rates with their confidence sequences, and the monitor's capital.

import { Chart } from "./chart.js";
import { byId, reconcile, setText } from "./dom.js";
import { count, counted, number, orDash, percent, power, timeWithSeconds } from "./format.js";

const NAMES = {
  mismatches: "Mismatches",
  suspicious: "Suspicious tokens",
  dangerous: "Dangerous tokens",
  pooled_bits: "Bits that could have been carried unseen",
  outlying: "Records with an outlier",
  flagged: "Flagged records",
};
// Where figures are so many times apart that the smaller one would lie on the axis, the scale is logarithmic.
const FAR_APART = 30;
const DECADES = 6;
// Of the value axis, above the highest figure.
const HEADROOM = 1.15;

const section = byId("rates");
const content = section.querySelector(".content");
const charts = new Map();

function show(rates) {
  setText(
    section.querySelector(".about"),
    `Lines: all that was audited so far. Bands: what the rate of all traffic can be, at ${percent(rates.confidence)} ` +
      "confidence at all times at once. Dots: what came since the point before. " +
      "Dashed: what honest traffic shows at most. In the first chart the line is the limit of what all answers so far " +
      "have carried, and its band begins at the part that grows with the traffic.",
  );
  const shown = [limitChart(rates), ...rates.series.map(seriesChart), capitalChart(rates)];
  reconcile(content, shown, ({ key }) => key, ({ key }) => make(key), (_, { key, figures, how }) => {
    charts.get(key).show(figures, how);
  });
}

function make(key) {
  charts.set(key, new Chart());
  return charts.get(key).node;
}

function seriesChart(series) {
  const format = series.unit === "bits a token" ? number : percent;
  const unit = series.unit.replace("share of", "of the");
  const name = NAMES[series.name] ?? series.name.replaceAll("_", " ");
  return {
    key: series.name,
    figures: series.points,
    how: {
      title: `${name}, ${series.unit}`,
      format,
      limits: (points) => limits(points, series.honest_at_most),
      rule: { value: series.honest_at_most, label: `honest at most ${format(series.honest_at_most)}` },
      read: ({ value, low, high }) =>
        `${format(value)} ${unit}, between ${format(low)} and ${format(high)}; ` +
        `honest at most ${format(series.honest_at_most)}`,
      columns: [
        { title: "time", text: (point) => timeWithSeconds(point.at) },
        { title: "records", number: true, text: (point) => count(point.records) },
        { title: "tokens", number: true, text: (point) => count(point.tokens) },
        { title: "so far", number: true, text: (point) => format(point.value) },
        { title: "at least", number: true, text: (point) => format(point.low) },
        { title: "at most", number: true, text: (point) => format(point.high) },
        { title: "since the point before", number: true, text: (point) => orDash(point.recent, format) },
      ],
    },
  };
}

// What must be seen: the latest band, every dot (an attack is one) and the honest rate. Early bands, which are wide,
// may leave the chart.
function limits(points, honest) {
  const latest = points.at(-1) ?? { value: 0, high: 0 };
  const recents = points.map((point) => point.recent ?? 0);
  const highest = Math.max(honest, latest.high, ...recents) || 1;
  const typical = Math.min(honest || highest, latest.value || latest.high || highest);
  if (highest / typical <= FAR_APART) {
    return { low: 0, high: highest * HEADROOM, log: false };
  }
  const least = Math.max(Math.min(typical, latest.low || typical), highest / 10 ** DECADES);
  return { low: 10 ** Math.floor(Math.log10(least / 2)), high: highest * 2, log: true };
}

function limitChart({ limit, confidence, conclusive_limit: wanted }) {
  return {
    key: "limit",
    figures: limit.map((point) => ({ ...point, value: point.limit, low: point.rate, high: point.limit })),
    how: {
      title: "Limit of what all answers so far have carried, audited or not, bits a token",
      format: number,
      limits: (points) => limitRange(points, wanted),
      rule: { value: wanted, label: `a verdict needs at most ${number(wanted)}` },
      read: ({ limit: most, rate, records }) =>
        `at most ${number(most)} bits a token in ${counted(records, "answer")}, at ${percent(confidence)} confidence; ` +
        `${number(rate)} of them grow with the traffic, the rest counts once`,
      columns: [
        { title: "time", text: (point) => timeWithSeconds(point.at) },
        { title: "answers", number: true, text: (point) => count(point.records) },
        { title: "tokens", number: true, text: (point) => count(point.tokens) },
        { title: "at most", number: true, text: (point) => number(point.limit) },
        { title: "grows with the traffic", number: true, text: (point) => number(point.rate) },
      ],
    },
  };
}

// Logarithmic, since a limit falls from what any token can carry to little: all of it, and what a verdict needs.
function limitRange(points, wanted) {
  const values = points.flatMap(({ limit, rate }) => [limit, rate]).filter((value) => value > 0);
  const [least, most] = [Math.min(wanted, ...values), Math.max(wanted, ...values)];
  return { low: Math.max(least / 1.5, most / 10 ** DECADES), high: most * 1.5, log: true };
}

function capitalChart({ capital, alarm_log10: alarm }) {
  const times = (log10) => `${10 ** log10 < 1000 && log10 > -3 ? number(10 ** log10) : power(Math.round(log10))} times`;
  return {
    key: "capital",
    figures: capital.map((point) => ({ at: point.at, value: point.log10 })),
    how: {
      title: "Capital of the monitor, who bets against an honest server",
      format: (log10) => (Number.isInteger(log10) ? power(log10) : number(10 ** log10)),
      limits: (points) => {
        const values = points.map((point) => point.value);
        const [least, most] = [Math.min(-1, ...values), Math.max(alarm, ...values)];
        return { low: Math.floor(least), high: Math.ceil(most + 0.5), log: false };
      },
      rule: { value: alarm, label: `alarm at ${times(alarm)}` },
      read: ({ value }) => `${times(value)} the stake; alarm at ${times(alarm)}`,
      columns: [
        { title: "time", text: (point) => timeWithSeconds(point.at) },
        { title: "capital, log10", number: true, text: (point) => number(point.value) },
      ],
    },
  };
}

export const rates = { section, path: () => "rates", show };
