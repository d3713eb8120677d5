// The audited records, page by page; each leads to its own view.

import { listing } from "./api.js";
import { byId, element, setText } from "./dom.js";
import { count, number, probability, time } from "./format.js";
import { Pager } from "./pager.js";
import { Table, only } from "./table.js";
import { refresh } from "./view.js";
import { outcome } from "./verdict.js";

const PAGE = 25;

const section = byId("records");
const form = section.querySelector("form");
const table = new Table(
  "Audited records, the newest first",
  [
    { title: "record", draw: drawLink },
    {
      title: "outcome",
      text: outcome,
      tone: (verdict) => (verdict.flagged ? "dangerous" : verdict.unverifiable ? "suspicious" : null),
    },
    { title: "archive", number: true, text: (verdict) => String(verdict.archive) },
    { title: "place in the log", number: true, text: (verdict) => count(verdict.index) },
    { title: "audited", text: (verdict) => time(verdict.at) },
    { title: "tokens", number: true, text: (verdict) => count(verdict.tokens) },
    { title: "mismatches", number: true, text: (verdict) => count(verdict.mismatches) },
    { title: "suspicious", number: true, text: (verdict) => count(verdict.suspicious) },
    { title: "dangerous", number: true, text: (verdict) => count(verdict.dangerous) },
    { title: "p-value", number: true, text: (verdict) => probability(verdict.p_value) },
    { title: "bits, pooled", number: true, text: (verdict) => number(verdict.pooled_bits) },
    { title: "reasons", text: (verdict) => verdict.reasons.join(" · "), tone: () => "said note" },
  ],
  (verdict) => verdict.position,
  "No such record.",
);
const pager = new Pager("records", () => refresh(records));

section.querySelector(".content").append(table.node, pager.node);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", filtered);

function filtered() {
  pager.reset();
  refresh(records);
}

function drawLink(cell, verdict) {
  const link = only(cell, () => element("a", { href: `#/records/${verdict.position}` }));
  setText(link, `#${verdict.position}`);
}

// All audited records of one archive.
export function showRecordsOf(archive) {
  filterRecords(new URLSearchParams({ archive }));
  byId("records-title").focus();
}

// The records of a link: flagged=true, unverifiable=true, archive=NUMBER; all others without them.
export function filterRecords(asked) {
  form.elements.show.value = ["flagged", "unverifiable"].find((name) => asked.get(name) === "true") ?? "";
  form.elements.archive.value = asked.get("archive") ?? "";
  filtered();
}

// null while the archive's number is not one.
function path() {
  const { show, archive } = form.elements;
  if (!archive.validity.valid) {
    return null;
  }
  const kind = show.value === "" ? {} : { [show.value]: true };
  return listing("verdicts", { ...kind, archive: archive.value, before: pager.before, limit: PAGE });
}

export const records = {
  section,
  path,
  show: (page) => {
    table.show(page.verdicts);
    pager.show(page.next);
  },
};
