// The view of one record: its verdict, and its tokens where evidence is kept.

import { byId, element, reconcile, setAttributes, setText } from "./dom.js";
import { count, margin, number, orDash, probability, time } from "./format.js";
import { showFacts } from "./facts.js";
import { tokenText } from "./tokens.js";
import { refresh } from "./view.js";
import { outcome } from "./verdict.js";

const section = byId("record");
const content = section.querySelector(".content");

let wanted = null;
let shown = null;

// Show the record at `position` of the audit; null: none.
export function showRecord(position) {
  wanted = position;
  shown = null;
  content.hidden = true;
  section.hidden = position === null;
  if (position !== null) {
    setText(byId("record-title"), `Record #${position}`);
    byId("record-title").focus();
    refresh(record);
  }
}

function show(view) {
  const { verdict } = view;
  shown = verdict.position;
  content.hidden = false;
  const box = byId("record-verdict");
  setText(box, `${outcome(verdict)}${verdict.early_stop ? ", with an early stop" : ""}`);
  setAttributes(box, { class: verdict.flagged ? "word dangerous" : "word" });
  reconcile(byId("record-reasons"), verdict.reasons, (text) => text, () => element("li", { class: "said" }), setText);
  showFacts(byId("record-facts"), facts(view));
  byId("record-tokens").replaceChildren(...tokens(view));
}

function facts({ verdict, ...view }) {
  return {
    "p-value": `${probability(verdict.p_value)} (at most this share of honest records looks so)`,
    tokens: count(verdict.tokens),
    mismatches: count(verdict.mismatches),
    suspicious: count(verdict.suspicious),
    dangerous: count(verdict.dangerous),
    "outside the grammar": count(verdict.outside_grammar),
    "largest margin": margin(verdict.largest_margin),
    "bits by counting": number(verdict.counting_bits),
    "bits pooled": number(verdict.pooled_bits),
    "bits of its end": number(verdict.end_bits),
    audited: time(verdict.at),
    "place in the log": `${count(verdict.index)}, in archive ${verdict.archive}`,
    "prompt tokens": orDash(view.prompt_tokens, count),
    "finish reason": orDash(view.finish_reason, String),
    sampling: sampling(view),
    log: view.origin,
    "archive at": view.url,
  };
}

function sampling({ temperature, top_p: topP, top_k: topK }) {
  const given = { temperature, top_p: topP, top_k: topK };
  const said = Object.entries(given).filter(([, value]) => value !== null);
  return said.length === 0 ? "–" : said.map(([name, value]) => `${name} ${value}`).join(", ");
}

function tokens({ verdict, tokens: all }) {
  if (all.length > 0) {
    return tokenText(all);
  }
  return [element("p", { class: "empty" }, whyNone(verdict))];
}

function whyNone({ unverifiable, evidence }) {
  if (unverifiable) {
    return "It could not be replayed, so nothing is known of its tokens: anything may be in them.";
  }
  return evidence
    ? "No tokens came with this record."
    : "No evidence is kept of this record, because nothing in it is suspicious.";
}

// A verdict does not change: it is asked for until it is there.
export const record = {
  section,
  path: () => (wanted === null || wanted === shown ? null : `records/${wanted}`),
  show,
};
