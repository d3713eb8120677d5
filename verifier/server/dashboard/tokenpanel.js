// What is known of one token: its scores, and what an honest server could have sent instead.

import { element } from "./dom.js";
import { showFacts } from "./facts.js";
import { count, margin, number } from "./format.js";
import { Table } from "./table.js";
import { visibleToken } from "./visible.js";

export function tokenPanel(token, at) {
  const facts = element("dl", { class: "facts" });
  showFacts(facts, {
    token: identity(token),
    verdict: token.verdict + (token.outside_grammar ? ", outside the grammar" : "") + (token.forced ? ", forced" : ""),
    margin: margin(token.margin),
    "rank by logit": count(token.logit_rank),
    "rank by Gumbel score": count(token.gumbel_rank),
    admissible: count(token.admissible),
    "charged bits": number(token.charged_bits),
  });
  return [element("h4", {}, `Token ${at}`), facts, ...alternatives(token.alternatives)];
}

function alternatives(tokens) {
  if (tokens.length === 0) {
    return [];
  }
  const table = new Table(
    "Admissible instead",
    [
      { title: "token", text: identity, tone: () => "said" },
      { title: "margin", number: true, text: (token) => margin(token.margin) },
    ],
    (token) => token.key,
    "None.",
  );
  table.show(tokens.map((token, key) => ({ ...token, key })));
  return [table.node];
}

function identity({ id, text }) {
  if (id === null && text === null) {
    return "not shown";
  }
  return [...(text === null ? [] : [`“${visibleToken(text)}”`]), ...(id === null ? [] : [`id ${id}`])].join(", ");
}
