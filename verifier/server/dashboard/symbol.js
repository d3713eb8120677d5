// A symbol for each state, told apart by its shape: a disc with a tick, a triangle, a clock, an octagon.

import { svg } from "./dom.js";

const SHAPES = {
  clear: ["M12 1a11 11 0 1 0 0 22a11 11 0 1 0 0-22z", "M6.5 12.5l3.7 3.8l7.3-8"],
  watch: ["M12 2L23.5 22H.5z", "M12 9v6.5M12 18v1.5"],
  stale: ["M12 1a11 11 0 1 0 0 22a11 11 0 1 0 0-22z", "M12 5.5V12l4.5 3.5"],
  alarm: ["M7.5 1h9L23 7.5v9L16.5 23h-9L1 16.5v-9z", "M12 5.5v8M12 16.5v2.2"],
};
const LOST = ["M12 1a11 11 0 1 0 0 22a11 11 0 1 0 0-22z", "M7 7l10 10M17 7L7 17"];

// Of the favicon: it stands on light and on dark tabs.
const COLOURS = { clear: "#2b8a3d", watch: "#b06a00", stale: "#7a6a9a", alarm: "#d0342c" };

export function symbol(state) {
  const [ground, mark] = SHAPES[state];
  return svg(
    "svg",
    { class: "symbol", viewBox: "0 0 24 24", "aria-hidden": "true" },
    svg("path", { class: "ground", d: ground }),
    svg("path", { class: "mark", d: mark }),
  );
}

// null: the connection is lost.
export function favicon(state) {
  const [ground, mark] = SHAPES[state] ?? LOST;
  const image =
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">' +
    `<path fill="${COLOURS[state] ?? "#777"}" d="${ground}"/>` +
    `<path fill="none" stroke="#fff" stroke-width="2.6" d="${mark}"/></svg>`;
  return `data:image/svg+xml,${encodeURIComponent(image)}`;
}
