// The taps on the links of inference servers, as their reports tell.

import { byId } from "./dom.js";
import { ago, bytes, count, orDash, time } from "./format.js";
import { Table } from "./table.js";

// The tone only repeats what the state says.
const TONES = { clear: null, unexplained: "dangerous" };

const table = new Table(
  "Taps on the link",
  [
    { title: "reports in", text: (tap) => tap.folder, tone: () => "said" },
    { title: "state", text: (tap) => stateOf(tap), tone: (tap) => toneOf(tap) },
    { title: "newest report", text: (tap) => orDash(tap.begins_at, (at) => `${time(at)} to ${time(tap.ends_at)}`) },
    { title: "ended", text: (tap) => orDash(tap.ends_at, ago) },
    { title: "frames", number: true, text: (tap) => orDash(tap.frames, count) },
    { title: "unexplained frames", number: true, text: (tap) => count(tap.unexplained_frames) },
    { title: "unexplained", number: true, text: (tap) => bytes(tap.unexplained_bytes) },
    { title: "what it found", text: (tap) => tap.what ?? "–", tone: () => "said note" },
    { title: "unusable files", number: true, text: (tap) => count(tap.refused) },
  ],
  (tap) => tap.folder,
  "No tap is followed.",
);

byId("taps").append(table.node);

export function showTaps({ taps }) {
  table.show(taps);
}

// The tile; nothing where no tap is followed.
export function tapTiles({ egress: { taps } }) {
  if (taps.length === 0) {
    return [];
  }
  const gravest = ["unexplained", "stale", "none", "watch", "clear"].find((state) => taps.some((tap) => tap.state === state));
  const frames = taps.reduce((sum, tap) => sum + tap.unexplained_frames, 0);
  const ends = taps.map((tap) => tap.ends_at).filter((end) => end !== null);
  const newest = ends.length === 0 ? "no report yet" : `reports go until ${ago(Math.min(...ends))}`;
  return [
    {
      name: "Frames on the link",
      figure: stateOf({ state: gravest }),
      note: `${count(frames)} unexplained; ${newest}`,
      tone: toneOf({ state: gravest }),
    },
  ];
}

function stateOf({ state }) {
  return state === "none" ? "no report" : state;
}

function toneOf({ state }) {
  return state in TONES ? TONES[state] : "suspicious";
}
