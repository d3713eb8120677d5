// The state at a glance: in the page, in its title, in its icon, and announced when it changes.

import { byId, element, setAttributes, setText } from "./dom.js";
import { ago, bytes, count, orDash, percent, time } from "./format.js";
import { showFacts, showTiles } from "./facts.js";
import { showOpenIncidents } from "./incidents.js";
import { showServers } from "./servers.js";
import { favicon, look, symbol } from "./symbol.js";
import { showTaps } from "./taps.js";
import { tiles } from "./tiles.js";

let shown = null;

export function showStatus(status) {
  const looks = look(status.state, status.concern);
  if (looks !== shown) {
    showState(status.state, looks);
    announce(status);
    shown = looks;
  }
  showModel(status.model);
  setText(byId("state-meaning"), status.meaning);
  setText(byId("state-because"), because(status));
  setTitle(status);
  setAttributes(byId("favicon"), { href: favicon(looks) });
  showOpenIncidents(status.reasons, status.may_acknowledge);
  showTiles(byId("tiles"), tiles(status));
  showFacts(byId("facts"), facts(status));
  showServers(status.audit.servers);
  showTaps(status.egress);
}

export function showLost() {
  document.title = "? connection lost – weightwarden";
  setAttributes(byId("favicon"), { href: favicon(null) });
}

// The model's name leads to all models; null: it is the only one.
function showModel(model) {
  const link = byId("model");
  link.hidden = model === null;
  setText(link, model ?? "");
}

function showState(state, looks) {
  const box = byId("state");
  setAttributes(box, { class: `state ${looks}` });
  box.replaceChildren(
    symbol(looks),
    element(
      "div",
      {},
      element("p", { class: "word" }, state),
      element("p", { id: "state-meaning" }),
      element("p", { id: "state-because" }),
    ),
  );
  const pill = byId("pill");
  setAttributes(pill, { class: `pill ${looks}`, "aria-label": `State: ${state}` });
  pill.replaceChildren(symbol(looks), state);
}

// The first state is not announced: whoever opens the page reads it.
function announce(status) {
  if (shown !== null) {
    setText(byId("announcement"), `The state is now ${status.state}. ${status.meaning} ${status.reasons.map((r) => r.what).join(" ")}`);
  }
}

function because(status) {
  const open = status.incidents;
  if (open === 0) {
    return "No incident is in force.";
  }
  if (open === 1) {
    return "One incident is in force:";
  }
  const shown = status.reasons.length < open ? `, of which ${count(status.reasons.length)} are shown` : "";
  return `${count(open)} incidents are in force${shown}:`;
}

function setTitle(status) {
  const name = status.model === null ? "" : `${status.model} – `;
  const title = `${status.state === "clear" ? "clear" : status.state.toUpperCase()} – ${name}weightwarden`;
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
