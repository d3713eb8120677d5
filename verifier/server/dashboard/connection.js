// Whether the server answers, and a banner while it does not.

import { byId, setText } from "./dom.js";
import { timeWithSeconds } from "./format.js";

const banner = byId("lost");

let lostAt = null;
let answeredAt = null;

// This machine's clock, not the server's: what counts is when answers came here.
function here() {
  return Date.now() / 1000;
}

export function answered() {
  lostAt = null;
  answeredAt = here();
  document.body.classList.remove("old");
  setText(banner, "");
}

export function lost(error) {
  lostAt ??= here();
  document.body.classList.add("old");
  const age = answeredAt === null ? "no figures yet" : `figures are old (${timeWithSeconds(answeredAt)})`;
  setText(banner, `Connection lost since ${timeWithSeconds(lostAt)}; ${age}. It is tried again: ${error.message}.`);
}
