// The archives of the log, page by page.

import { listing } from "./api.js";
import { byId, element, setText } from "./dom.js";
import { count, orDash, percent, range, time } from "./format.js";
import { Pager } from "./pager.js";
import { showRecordsOf } from "./records.js";
import { Table, only } from "./table.js";
import { refresh } from "./view.js";

const PAGE = 20;

const section = byId("archives");
const form = section.querySelector("form");
const table = new Table(
  "Archives, the newest first",
  [
    { title: "archive", draw: drawNumber },
    {
      title: "state",
      text: state,
      tone: (archive) => (archive.quarantine === null ? null : "suspicious said"),
    },
    { title: "records", text: (archive) => range(archive.start, archive.end) },
    { title: "count", number: true, text: (archive) => orDash(archive.records, count) },
    { title: "tokens", number: true, text: (archive) => orDash(archive.tokens, count) },
    { title: "audit rate", number: true, text: (archive) => orDash(archive.audit_rate, percent) },
    { title: "by", text: (archive) => orDash(archive.audit_by, (by) => by) },
    { title: "selected", number: true, text: (archive) => orDash(archive.selected, count) },
    { title: "remaining", number: true, text: (archive) => orDash(archive.remaining, count) },
    { title: "found", text: (archive) => time(archive.found_at) },
    { title: "audited", text: (archive) => orDash(archive.audited_at, time) },
    { title: "where", text: (archive) => archive.url, tone: () => "said note" },
  ],
  (archive) => archive.id,
  "No archive.",
);
const pager = new Pager("archives", () => refresh(archives));

section.querySelector(".content").append(table.node, pager.node);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", () => {
  pager.reset();
  refresh(archives);
});

function state({ state, quarantine }) {
  return quarantine === null ? state : `${state}: ${quarantine.kind}. ${quarantine.what}`;
}

// The number leads to the archive's records.
function drawNumber(cell, archive) {
  const button = only(cell, () => {
    const made = element("button", { type: "button", class: "link", "aria-label": `Records of archive ${archive.id}` });
    made.addEventListener("click", () => showRecordsOf(archive.id));
    return made;
  });
  setText(button, String(archive.id));
}

// The archives of a link: state=STATE; all others without it.
export function filterArchives(asked) {
  form.elements.state.value = asked.get("state") ?? "";
  pager.reset();
  refresh(archives);
}

export const archives = {
  section,
  path: () => listing("archives", { state: form.elements.state.value, before: pager.before, limit: PAGE }),
  show: (page) => {
    table.show(page.archives);
    pager.show(page.next);
  },
};
