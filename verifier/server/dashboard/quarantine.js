// What is in quarantine, and what was.

import { byId } from "./dom.js";
import { ago, range, time } from "./format.js";
import { Table } from "./table.js";

const COLUMNS = [
  { title: "kind", text: (entry) => entry.kind },
  { title: "where", text: (entry) => entry.where, tone: () => "said" },
  { title: "what", text: (entry) => entry.what, tone: () => "said" },
  { title: "since", text: (entry) => `${time(entry.since)} (${ago(entry.since)})` },
  { title: "records", text: (entry) => range(entry.start, entry.end) },
];
const RESOLVED = { title: "resolved", text: (entry) => time(entry.resolved_at) };

const section = byId("quarantine");
const folded = section.querySelector("details");
const keyOf = (entry) => entry.id;
const present = new Table("In quarantine now", COLUMNS, keyOf, "Nothing is in quarantine.");
const past = new Table("Resolved", [...COLUMNS, RESOLVED], keyOf, "Nothing was resolved.");

section.querySelector(".content").append(present.node);
folded.querySelector("div").append(past.node);

function show({ quarantined }) {
  const resolved = quarantined.filter((entry) => entry.resolved_at !== null);
  present.show(quarantined.filter((entry) => entry.resolved_at === null));
  past.show(resolved);
  folded.hidden = resolved.length === 0;
}

export const quarantine = { section, path: () => "quarantine", show };
