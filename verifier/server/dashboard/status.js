// The state at a glance: in the page, in its title, in its icon, and announced when it changes.

import { byId, element, setAttributes, setText } from "./dom.js";
import { ago, bytes, count, orDash, percent, time } from "./format.js";
import { showFacts, showTiles } from "./facts.js";
import { showOpenIncidents } from "./incidents.js";
import { showServers } from "./servers.js";
import { favicon, symbol } from "./symbol.js";
import { tiles } from "./tiles.js";

const MEANINGS = {
  clear: "Nothing speaks against the inference server, as far as was audited.",
  watch: "Something needs a look; it is no proof of anything.",
  stale: "No new archive came in time: silence says nothing good.",
  alarm: "The traffic does not look honest. Act on what follows.",
};

let shown = null;

export function showStatus(status) {
  if (status.state !== shown) {
    showState(status.state);
    announce(status);
    shown = status.state;
  }
  setText(byId("state-because"), because(status));
  setTitle(status);
  setAttributes(byId("favicon"), { href: favicon(status.state) });
  showOpenIncidents(status.reasons, status.may_acknowledge);
  showTiles(byId("tiles"), tiles(status));
  showFacts(byId("facts"), facts(status));
  showServers(status.audit.servers);
}

export function showLost() {
  document.title = "? connection lost – weightwarden";
  setAttributes(byId("favicon"), { href: favicon(null) });
}

function showState(state) {
  const box = byId("state");
  setAttributes(box, { class: `state ${state}` });
  box.replaceChildren(
    symbol(state),
    element(
      "div",
      {},
      element("p", { class: "word" }, state),
      element("p", {}, MEANINGS[state]),
      element("p", { id: "state-because", class: "because" }),
    ),
  );
  const pill = byId("pill");
  setAttributes(pill, { class: `pill ${state}`, "aria-label": `State: ${state}` });
  pill.replaceChildren(symbol(state), state);
}

// The first state is not announced: whoever opens the page reads it.
function announce(status) {
  if (shown !== null) {
    setText(byId("announcement"), `The state is now ${status.state}. ${status.reasons.map((r) => r.what).join(" ")}`);
  }
}

function because(status) {
  const open = status.incidents;
  if (open === 0) {
    return "No incident is open.";
  }
  if (open === 1) {
    return "Because of one open incident:";
  }
  const shown = status.reasons.length < open ? `, of which ${count(status.reasons.length)} are shown` : "";
  return `Because of ${count(open)} open incidents${shown}:`;
}

function setTitle(status) {
  const title = `${status.state === "clear" ? "clear" : status.state.toUpperCase()} – weightwarden`;
  if (document.title !== title) {
    document.title = title;
  }
}

function facts(status) {
  const { traffic } = status;
  return {
    model: status.model_digest,
    policy: status.policy_digest,
    scheme: status.exact ? `${status.scheme}, exact replay` : status.scheme,
    weights: bytes(status.bounds.weights_bytes),
    "records in the log": count(traffic.records),
    "tokens in the log": count(traffic.tokens),
    "compute budget": orDash(status.audit.compute_share, (share) => `${percent(share)} of each server's time`),
    "watched since": time(status.since),
    "last looked": orDash(status.watched_at, ago),
  };
}
