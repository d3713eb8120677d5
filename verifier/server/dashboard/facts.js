// A list of names and values, changed in place.

import { element, reconcile, setAttributes, setText } from "./dom.js";

export function showFacts(list, facts) {
  reconcile(
    list,
    Object.entries(facts),
    ([name]) => name,
    ([name]) => element("div", {}, element("dt", {}, name), element("dd", { class: "said" })),
    (node, [, value]) => setText(node.lastElementChild, value),
  );
}

// Tiles are {name, figure, note, tone}: tone is a class that repeats what the words say.
export function showTiles(list, tiles) {
  reconcile(
    list,
    tiles,
    (tile) => tile.name,
    (tile) =>
      element(
        "div",
        {},
        element("dt", {}, tile.name),
        element("dd", { class: "figure" }),
        element("dd", { class: "note" }),
      ),
    (node, tile) => {
      setAttributes(node, { class: tile.tone ? `tile ${tile.tone}` : "tile" });
      setText(node.children[1], tile.figure);
      setText(node.children[2], tile.note);
    },
  );
}
