// The page of a server of several models: a row for each, and the incidents of all.

import { get } from "./api.js";
import { setClock } from "./clock.js";
import { answered, lost } from "./connection.js";
import { byId, element, setAttributes, setText } from "./dom.js";
import { UNKNOWN, ago, count, counted, duration, number, orDash, orUnknown, percent, probability } from "./format.js";
import { favicon, look, symbol } from "./symbol.js";
import { Table, only } from "./table.js";

const BEAT_MS = 5_000;
const HIDDEN_MS = 30_000;
// Of a model whose database cannot be used.
const SILENT = "unknown";

let shown = null;

const models = new Table(
  "Models",
  [
    { title: "model", draw: (cell, { model }) => drawLink(cell, model, `models/${model}/`) },
    { title: "state", draw: (cell, { status }) => drawState(cell, status) },
    { title: "records", number: true, text: ({ status }) => ofStatus(status, ({ traffic }) => count(traffic.records)) },
    {
      title: "audited",
      number: true,
      text: ({ status }) => ofStatus(status, ({ audit }) => count(audit.audited_records)),
    },
    {
      title: "of the tokens",
      number: true,
      text: ({ status }) => ofStatus(status, ({ audit }) => orDash(audit.audited_share, percent)),
    },
    { title: "flagged", number: true, text: ({ status }) => ofStatus(status, ({ audit }) => count(audit.flagged)) },
    { title: "limit, bits a token", number: true, text: ({ status }) => ofStatus(status, limit) },
    {
      title: "waiting",
      number: true,
      text: ({ status }) => ofStatus(status, ({ audit }) => count(audit.backlog_records)),
    },
    {
      title: "lag",
      number: true,
      text: ({ status }) => ofStatus(status, ({ audit }) => orDash(audit.lag_seconds, duration)),
      tone: ({ status }) => (status?.audit.behind ? "suspicious" : null),
    },
    {
      title: "last archive",
      text: ({ status }) => ofStatus(status, ({ traffic }) => orDash(traffic.last_archive_at, ago)),
    },
    { title: "in memory", text: ({ resident }) => (resident ? "yes" : "no") },
  ],
  ({ model }) => model,
  "There is no model.",
);

const incidents = new Table(
  "Incidents in force, of all models",
  [
    { title: "model", draw: (cell, one) => drawLink(cell, one.model, `models/${one.model}/#incident-${one.id}`) },
    { title: "incident", text: (one) => one.title, tone: () => "said" },
    { title: "level", text: (one) => one.level, tone: (one) => `level ${look(one.level, one.concern)}` },
    { title: "what", text: (one) => one.what, tone: () => "said" },
    { title: "opened", text: (one) => ago(one.opened_at) },
    { title: "acknowledged", text: (one) => one.acknowledged_by ?? "no", tone: () => "said" },
  ],
  (one) => `${one.model} ${one.id} ${one.level}`,
  "No incident is in force.",
);

function ofStatus(status, text) {
  return status === null ? SILENT : text(status);
}

function limit({ bounds }) {
  return orUnknown(bounds.series, (series) => number(series.bits_per_token));
}

function drawLink(cell, text, href) {
  const link = only(cell, () => element("a"));
  setAttributes(link, { href });
  setText(link, text);
}

function drawState(cell, status) {
  const looks = status === null ? null : look(status.state, status.concern);
  if (cell.dataset.looks === String(looks)) {
    return;
  }
  cell.dataset.looks = String(looks);
  cell.replaceChildren(
    looks === null
      ? SILENT
      : element("span", { class: `pill ${looks}` }, symbol(looks), status.state),
  );
}

// Each model alarms by itself: with several, one of them is likelier to do so by chance.
function levels(found) {
  const known = found.flatMap(({ status }) => (status === null ? [] : [status.monitor.alarm_level]));
  const sum = Math.min(known.reduce((before, level) => before + level, 0), 1);
  return (
    `Each model has a series and an alarm level of its own. That an alarm by evidence ever comes to one of ` +
    `${counted(known.length, "honest model")} has probability ${probability(sum)} at most.`
  );
}

function show({ state, resident_limit: most, models: found }) {
  const statuses = found.flatMap(({ status }) => (status === null ? [] : [status]));
  if (statuses.length > 0) {
    setClock(statuses[0].now);
  }
  const gravest = statuses.find((status) => status.state === state) ?? null;
  const looks = gravest === null ? null : look(state, gravest.concern);
  showState(state, looks);
  models.show(found);
  setText(byId("levels"), `${levels(found)} At most ${counted(most, "model")} in memory.`);
  incidents.show(found.flatMap(({ model, status }) => (status?.reasons ?? []).map((one) => ({ model, ...one }))));
}

function showState(state, looks) {
  const word = state ?? UNKNOWN;
  document.title = `${state === "clear" ? "clear" : word.toUpperCase()} – weightwarden`;
  setAttributes(byId("favicon"), { href: favicon(looks) });
  if (looks === shown) {
    return;
  }
  if (shown !== null) {
    setText(byId("announcement"), `The gravest state of a model is now ${word}.`);
  }
  shown = looks;
  const pill = byId("pill");
  setAttributes(pill, { class: `pill ${looks ?? ""}`, "aria-label": `Gravest state: ${word}` });
  pill.replaceChildren(...(looks === null ? [] : [symbol(looks)]), word);
}

async function beat() {
  try {
    const answer = await get("models");
    answered();
    show(answer);
  } catch (error) {
    lost(error);
    document.title = "? connection lost – weightwarden";
    setAttributes(byId("favicon"), { href: favicon(null) });
  }
  setTimeout(beat, document.hidden ? HIDDEN_MS : BEAT_MS);
}

byId("models").querySelector(".content").append(models.node);
byId("incidents").querySelector(".content").append(incidents.node);
setText(byId("zone"), Intl.DateTimeFormat().resolvedOptions().timeZone);
beat();
