// Pages of a listing, the newest first: each page is asked for by where it begins (`before`).

import { element, setAttributes } from "./dom.js";

export class Pager {
  // turned(): another page is wanted.
  constructor(what, turned) {
    this.turned = turned;
    this.next = null;
    // Where the pages up to this one begin; null is the newest.
    this.befores = [null];
    this.newer = this.#button(`newer ${what}`, () => this.befores.length > 1, () => this.befores.pop());
    this.older = this.#button(`older ${what}`, () => this.next !== null, () => this.befores.push(this.next));
    this.node = element("p", { class: "buttons" }, this.newer, " ", this.older);
    this.#mark();
  }

  get before() {
    return this.befores.at(-1);
  }

  reset() {
    this.befores = [null];
    this.show(null);
  }

  show(next) {
    this.next = next;
    this.#mark();
  }

  #button(text, possible, turn) {
    const button = element("button", { type: "button" }, text);
    button.addEventListener("click", () => {
      if (possible()) {
        turn();
        this.next = null;
        this.#mark();
        this.turned();
      }
    });
    return button;
  }

  // Not `disabled`, which would take the focus away.
  #mark() {
    setAttributes(this.newer, { "aria-disabled": this.befores.length === 1 });
    setAttributes(this.older, { "aria-disabled": this.next === null });
  }
}
