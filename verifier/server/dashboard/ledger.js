// The bandwidth ledger: what each channel carries a day, and the bounds behind it.

import { byId, element, reconcile, setAttributes, setText, svg } from "./dom.js";
import { bytes, bytesADay, compact, daysToExfiltrate, number, orUnknown, percent } from "./format.js";
import { Table, only } from "./table.js";

const BAR = { width: 100, height: 12 };

const section = byId("ledger");
const channels = new Table(
  "Channels",
  [
    { title: "channel", text: (channel) => channel.name.replaceAll("_", " ") },
    { title: "bits a day", number: true, text: (channel) => compact(channel.bits_per_day) },
    { title: "bytes a day", number: true, text: (channel) => bytes(channel.bits_per_day / 8) },
    { title: "share of the largest", draw: drawBar },
    {
      title: "in the sum",
      text: (channel) => (channel.counted ? "counted" : "OPEN"),
      tone: (channel) => (channel.counted ? null : "suspicious"),
    },
    { title: "what is behind it", text: (channel) => channel.note, tone: () => "said note" },
  ],
  (channel) => channel.name,
  "The traffic of a day is not known yet.",
);
const bounds = new Table(
  "Limits of what tokens and ends of all answers so far have carried unseen, audited or not",
  [
    { title: "bound", text: (bound) => bound.name.replaceAll("_", " ") },
    { title: "audited answers, bits a token", number: true, text: (bound) => number(bound.audited) },
    { title: "grows with traffic, bits a token", number: true, text: (bound) => number(bound.rate) },
    { title: "counts once", number: true, text: (bound) => bytes(bound.stock_bits / 8) },
    { title: "in all", number: true, text: (bound) => bytes(bound.limit_bits / 8) },
    { title: "in all, bits a token", number: true, text: (bound) => number(bound.limit) },
  ],
  (bound) => bound.name,
  "Nothing was audited yet.",
);

section.querySelector(".content").append(channels.node, bounds.node);

function show(ledger) {
  const largest = Math.max(...ledger.channels.map((channel) => channel.bits_per_day), Number.MIN_VALUE);
  setText(section.querySelector(".about"), sentence(ledger));
  channels.show(ledger.channels.map((channel) => ({ ...channel, share: channel.bits_per_day / largest })));
  channels.setFoot(
    element("th", { scope: "row" }, "all that are counted"),
    element("td", { class: "number" }, orUnknown(ledger.bits_per_day, compact)),
    element("td", { class: "number" }, orUnknown(ledger.bits_per_day, (bits) => bytes(bits / 8))),
  );
  bounds.show(ledger.bounds);
  reconcile(byId("assumptions"), ledger.assumptions, (text) => text, () => element("li", { class: "said" }), setText);
}

function sentence(ledger) {
  const { bits_per_day: bits, gambled_bits: gambled, entropy_bits_per_token: entropy } = ledger;
  if (bits === null) {
    const needs = ledger.conclusiveness.needs ?? "the traffic of a day is not known";
    return `What can leave is not yet known: ${needs}. ${ledger.timing.statement}`;
  }
  return [
    ledger.statement,
    ledger.timing.statement,
    `At ${percent(ledger.confidence)} confidence, all counted channels together carry at most ${bytesADay(bits)}` +
      `${consequence(ledger)}.`,
    gambled === null
      ? ""
      : `Whole altered answers bring at most ${bytes(gambled / 8)}, once, before they are caught; ` +
        "what counts once contains it.",
    entropy === null
      ? ""
      : `An attacker who imitates honest choices has ${number(entropy)} bits a token, whatever the thresholds (honest entropy).`,
  ].join(" ");
}

function consequence(ledger) {
  if (!ledger.conclusiveness.conclusive) {
    return `. This is no statement yet: ${ledger.conclusiveness.needs}`;
  }
  const time = daysToExfiltrate(ledger, ledger.conclusiveness);
  const when = time === "never" ? time : `after ${time} at the earliest`;
  return `: ${bytes(ledger.weights_bytes)} of weights would be gone ${when}`;
}

// Filled where counted, outlined where open.
function drawBar(cell, channel) {
  const bar = only(cell, () =>
    svg(
      "svg",
      { class: "hbar", viewBox: `0 0 ${BAR.width} ${BAR.height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { x: 0, y: 1, height: BAR.height - 2 }),
    ),
  );
  setAttributes(bar.firstElementChild, {
    class: channel.counted ? "counted" : "open",
    width: BAR.width * channel.share,
  });
}

export const ledger = { section, path: () => "bounds", show };
