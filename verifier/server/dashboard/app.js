// The page: which views are seen, and the heartbeat that keeps them fresh.

import { onAcknowledged } from "./acknowledge.js";
import { archives } from "./archives.js";
import { byId, setText } from "./dom.js";
import { Heartbeat } from "./heartbeat.js";
import { history } from "./incidents.js";
import { ledger } from "./ledger.js";
import { margins } from "./margins.js";
import { quarantine } from "./quarantine.js";
import { rates } from "./rates.js";
import { record, showRecord } from "./record.js";
import { records } from "./records.js";

const RECORD = /^#\/records\/(\d+)$/;
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
    goTo(byId(location.hash.slice(1)) ?? byId("main"), heartbeat.refreshAll());
    return;
  }
  heartbeat.refreshAll();
}

// The page grows when its figures come: go there again then, unless the reader has taken over.
async function goTo(node, figures) {
  const taken = new AbortController();
  for (const event of ["wheel", "keydown", "pointerdown"]) {
    window.addEventListener(event, () => taken.abort(), { signal: taken.signal, passive: true });
  }
  node.scrollIntoView({ behavior: "instant" });
  await figures;
  if (!taken.signal.aborted) {
    node.scrollIntoView({ behavior: "instant" });
    taken.abort();
  }
}

overview.addEventListener("click", (event) => {
  if (event.target.closest('a[href^="#/records/"]') !== null) {
    left = { hash: location.hash, scroll: window.scrollY };
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
const figures = heartbeat.beat();
const asked = byId(location.hash.slice(1));
if (asked !== null) {
  goTo(asked, figures);
}
