// The tokens of a record as text that the keyboard walks through, and a panel with what is known of one of them.

import { element, setAttributes } from "./dom.js";
import { margin } from "./format.js";
import { tokenPanel } from "./tokenpanel.js";
import { visibleToken } from "./visible.js";

const BOX = "▢";

// The elements that show `tokens`, at least one.
export function tokenText(tokens) {
  const panel = element("div", { class: "panel", id: "token-panel" });
  const nodes = tokens.map(create);
  const text = element(
    "div",
    { class: "tokens", role: "listbox", "aria-labelledby": "tokens-title", "aria-orientation": "horizontal" },
    ...nodes,
  );
  walk(text, panel, nodes, (at) => panel.replaceChildren(...tokenPanel(tokens[at], at)));
  const hidden = tokens.every((token) => token.text === null && token.id === null);
  return [legend(), ...(hidden ? [textIsOff()] : []), text, panel];
}

function create(token, at) {
  const attributes = { class: `token ${token.verdict}`, role: "option", tabindex: "-1", title: `token ${at}` };
  const text = token.text === null ? BOX : visibleToken(token.text);
  return element("span", { ...attributes, "aria-label": spoken(token, at) }, text);
}

function spoken(token, at) {
  const text = token.text === null ? "" : `: ${visibleToken(token.text)}`;
  return `${at}${text}, ${token.verdict}, margin ${margin(token.margin)}`;
}

// One token is in the tab order. Left and right go to its neighbours, up and down to the next one that is not safe; the
// pointer shows a token while it is on it.
function walk(text, panel, nodes, show) {
  const findings = nodes.flatMap((node, at) => (node.classList.contains("safe") ? [] : [at]));
  let chosen = findings[0] ?? 0;
  const choose = (at) => {
    setAttributes(nodes[chosen], { tabindex: "-1", "aria-selected": "false" });
    setAttributes(nodes[at], { tabindex: "0", "aria-selected": "true" });
    chosen = at;
    show(at);
  };
  const goal = (key) =>
    ({
      ArrowLeft: Math.max(chosen - 1, 0),
      ArrowRight: Math.min(chosen + 1, nodes.length - 1),
      ArrowUp: findings.findLast((at) => at < chosen) ?? chosen,
      ArrowDown: findings.find((at) => at > chosen) ?? chosen,
      Home: 0,
      End: nodes.length - 1,
    })[key];
  text.addEventListener("keydown", (event) => {
    const at = goal(event.key);
    if (at !== undefined && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      nodes[at].focus();
    }
  });
  text.addEventListener("focusin", (event) => choose(nodes.indexOf(event.target)));
  // Not while the focus is in the panel, which would lose it.
  const glance = (at) => {
    if (!panel.contains(document.activeElement)) {
      show(at);
    }
  };
  text.addEventListener("pointerover", (event) => {
    const at = nodes.indexOf(event.target);
    glance(at === -1 ? chosen : at);
  });
  text.addEventListener("pointerleave", () => glance(chosen));
  choose(chosen);
}

function legend() {
  return element(
    "p",
    { class: "note" },
    element("span", { class: "token suspicious" }, "suspicious"),
    " (dotted): implausible, but among the most likely tokens; ",
    element("span", { class: "token dangerous" }, "dangerous"),
    " (double): any token could have stood here. Point at a token for its scores, or go there with the keyboard: " +
      "left and right to the neighbours, up and down to the next that is not safe.",
  );
}

function textIsOff() {
  return element(
    "p",
    { class: "notice" },
    "Text is turned off on this server: each token is a box. Its operator can show text with ",
    element("code", {}, "--show-text"),
    ".",
  );
}
