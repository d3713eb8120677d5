// A symbol for each state, told apart by its shape: a disc with a tick, one with a question mark, a triangle, a clock;
// an alarm by what it is about: an octagon, a cracked shield, a diamond.

import { svg } from "./dom.js";

const DISC = "M12 1a11 11 0 1 0 0 22a11 11 0 1 0 0-22z";
const SHAPES = {
  clear: [DISC, "M6.5 12.5l3.7 3.8l7.3-8"],
  inconclusive: [DISC, "M8.2 9.2a3.8 3.8 0 1 1 5.6 3.4c-1.2.7-1.8 1.3-1.8 2.6M12 17.3v2"],
  watch: ["M12 2L23.5 22H.5z", "M12 9v6.5M12 18v1.5"],
  stale: [DISC, "M12 5.5V12l4.5 3.5"],
  "alarm evidence": ["M7.5 1h9L23 7.5v9L16.5 23h-9L1 16.5v-9z", "M12 5.5v8M12 16.5v2.2"],
  "alarm log": ["M12 1L22 4.5V12c0 6-4.5 9.5-10 11C6.5 21.5 2 18 2 12V4.5z", "M13.5 4.5L9.2 11.5h5.2L10.5 19"],
  "alarm operation": ["M12 .5L23.5 12L12 23.5L.5 12z", "M12 6.5v7M12 16v2.2"],
};
const LOST = [DISC, "M7 7l10 10M17 7L7 17"];

// Of the favicon: it stands on light and on dark tabs.
const COLOURS = {
  clear: "#2b8a3d",
  inconclusive: "#64707c",
  watch: "#b06a00",
  stale: "#7a6a9a",
  "alarm evidence": "#d0342c",
  "alarm log": "#b0288a",
  "alarm operation": "#c05a10",
};

// What a state, or the level of an incident, looks like; `concern` tells alarms apart.
export function look(state, concern) {
  return state === "alarm" ? `alarm ${concern}` : state;
}

export function symbol(looks) {
  const [ground, mark] = SHAPES[looks];
  return svg(
    "svg",
    { class: "symbol", viewBox: "0 0 24 24", "aria-hidden": "true" },
    svg("path", { class: "ground", d: ground }),
    svg("path", { class: "mark", d: mark }),
  );
}

// null: the connection is lost.
export function favicon(looks) {
  const [ground, mark] = SHAPES[looks] ?? LOST;
  const image =
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">' +
    `<path fill="${COLOURS[looks] ?? "#777"}" d="${ground}"/>` +
    `<path fill="none" stroke="#fff" stroke-width="2.6" d="${mark}"/></svg>`;
  return `data:image/svg+xml,${encodeURIComponent(image)}`;
}
