// The page: which views are seen, and the heartbeat that keeps them fresh.

import { onAcknowledged } from "./acknowledge.js";
import { archives, filterArchives } from "./archives.js";
import { byId, setText } from "./dom.js";
import { Heartbeat } from "./heartbeat.js";
import { history } from "./incidents.js";
import { ledger } from "./ledger.js";
import { margins } from "./margins.js";
import { quarantine } from "./quarantine.js";
import { rates } from "./rates.js";
import { record, showRecord } from "./record.js";
import { filterRecords, records } from "./records.js";

const RECORD = /^#\/records\/(\d+)$/;
// A section, an incident, or a section with a filter.
const PLACE = /^#([a-z]+(?:-\d+)?)(?:\?(.*))?$/;
const FILTERS = { records: filterRecords, archives: filterArchives };
const OVERVIEW = [quarantine, rates, margins, ledger, archives, records, history];

const overview = byId("overview");
const heartbeat = new Heartbeat(() => (overview.hidden ? [record] : OVERVIEW));

let open = null;
// Where the reader was in the overview when a record was opened.
let left = { hash: location.hash, scroll: 0 };

// What is after # is a record, or a section of the overview.
function route() {
  const position = RECORD.exec(location.hash)?.[1] ?? null;
  if (position === open) {
    if (position === null) {
      arrive(null);
    }
    return;
  }
  const before = open;
  open = position;
  overview.hidden = position !== null;
  showRecord(position);
  if (position !== null) {
    window.scrollTo(0, 0);
  } else {
    returnFrom(before);
  }
}

// Back to the same place and the link to the record, or to the section that was asked for.
function returnFrom(position) {
  const link = overview.querySelector(`a[href="#/records/${position}"]`);
  const same = location.hash === left.hash || location.hash === "#records";
  if (link !== null && same) {
    window.scrollTo(0, left.scroll);
    link.focus({ preventScroll: true });
  } else {
    if (!arrive(heartbeat.refreshAll())) {
      byId("main").scrollIntoView({ behavior: "instant" });
    }
    return;
  }
  heartbeat.refreshAll();
}

// Go to what is after #: unfolded, and filtered as the link asks. `figures` is settled when the page has grown; null: it
// has. False without a place.
function arrive(figures) {
  const [, id, query] = PLACE.exec(location.hash) ?? [];
  if (id === undefined) {
    return false;
  }
  if (query !== undefined) {
    FILTERS[id]?.(new URLSearchParams(query));
  }
  if (figures !== null) {
    goTo(id, figures);
  } else {
    show(id);
  }
  return true;
}

// Scroll to an element, and unfold what it is in.
function show(id) {
  const node = byId(id);
  const folded = node?.closest("details");
  if (folded) {
    folded.open = true;
  }
  node?.scrollIntoView({ behavior: "instant" });
  if (node?.classList.contains("incident")) {
    node.focus({ preventScroll: true });
  }
}

// The page grows when its figures come: go there again then, unless the reader has taken over.
async function goTo(id, figures) {
  const taken = new AbortController();
  for (const event of ["wheel", "keydown", "pointerdown"]) {
    window.addEventListener(event, () => taken.abort(), { signal: taken.signal, passive: true });
  }
  show(id);
  await figures;
  if (!taken.signal.aborted) {
    show(id);
    taken.abort();
  }
}

overview.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (link?.hash.startsWith("#/records/")) {
    left = { hash: location.hash, scroll: window.scrollY };
  } else if (link?.hash === location.hash) {
    arrive(null); // the browser announces no change
  }
});
// The skip link must not change what is after #, which names the record that is open.
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
window.addEventListener("hashchange", route);
onAcknowledged(() => heartbeat.beat());
setText(byId("zone"), Intl.DateTimeFormat().resolvedOptions().timeZone);
route();
arrive(heartbeat.beat());
