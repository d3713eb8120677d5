// A table whose rows are changed in place. A column is {title, text(item)} or {title, draw(cell, item)}; the first one
// heads its row. number: aligned as one. tone(item): a class of the cell, or null.

import { element, reconcile, setAttributes, setText } from "./dom.js";

export class Table {
  constructor(caption, columns, keyOf, empty) {
    this.columns = columns;
    this.keyOf = keyOf;
    this.body = element("tbody");
    this.empty = element("p", { class: "empty" }, empty);
    this.caption = element("caption", {}, caption);
    const headers = columns.map((column) => element("th", { scope: "col", class: alignment(column) }, column.title));
    this.table = element("table", {}, this.caption, element("thead", {}, element("tr", {}, ...headers)), this.body);
    // Focusable, so that a table wider than the screen can be scrolled with the keyboard.
    this.scroll = element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": caption }, this.table);
    this.node = element("div", {}, this.scroll, this.empty);
    this.show([]);
  }

  show(items) {
    this.scroll.hidden = items.length === 0;
    this.empty.hidden = items.length > 0;
    reconcile(this.body, items, this.keyOf, () => this.#row(), (row, item) => this.#update(row, item));
  }

  setFoot(...cells) {
    this.table.tFoot?.remove();
    this.table.append(element("tfoot", {}, element("tr", {}, ...cells)));
  }

  #row() {
    const cells = this.columns.map((column, at) =>
      at === 0
        ? element("th", { scope: "row", class: alignment(column) })
        : element("td", { class: alignment(column) }),
    );
    return element("tr", {}, ...cells);
  }

  #update(row, item) {
    this.columns.forEach((column, at) => {
      const cell = row.children[at];
      if (column.tone !== undefined) {
        setAttributes(cell, { class: [alignment(column), column.tone(item)].filter(Boolean).join(" ") });
      }
      if (column.draw === undefined) {
        setText(cell, column.text(item));
      } else {
        column.draw(cell, item);
      }
    });
  }
}

// A cell's only child, made once: a link or a button keeps its focus.
export function only(cell, create) {
  if (cell.firstElementChild === null) {
    cell.replaceChildren(create());
  }
  return cell.firstElementChild;
}

function alignment(column) {
  return column.number ? "number" : "";
}
