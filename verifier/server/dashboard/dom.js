// Making and changing elements. All text goes through setText: it comes from a log that an attacker writes to.

import { visible } from "./visible.js";

const SVG = "http://www.w3.org/2000/svg";

export function byId(id) {
  return document.getElementById(id);
}

export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  setAttributes(node, attributes);
  for (const child of children) {
    node.append(typeof child === "string" ? visible(child) : child);
  }
  return node;
}

// null takes an attribute away. Nothing is written that is there already, so assistive tools hear only of changes.
export function setAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null) {
      node.removeAttribute(name);
    } else if (node.getAttribute(name) !== String(value)) {
      node.setAttribute(name, value);
    }
  }
}

export function setText(node, text) {
  const shown = visible(text);
  if (node.textContent !== shown) {
    node.textContent = shown;
  }
}

// A line about what went wrong; null hides it.
export function setProblem(node, text) {
  node.hidden = text === null;
  setText(node, text ?? "");
}

// Give `parent` one child an item, in order. Children of items that stay are neither rebuilt nor moved, unless the
// order of the items changes: a focused or opened one remains so.
export function reconcile(parent, items, keyOf, create, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const nodes = items.map((item) => {
    const key = String(keyOf(item));
    const node = old.get(key) ?? create(item);
    node.dataset.key = key;
    old.delete(key);
    update(node, item);
    return node;
  });
  for (const gone of old.values()) {
    gone.remove();
  }
  let place = parent.firstElementChild;
  for (const node of nodes) {
    if (node === place) {
      place = place.nextElementSibling;
    } else {
      parent.insertBefore(node, place);
    }
  }
}
