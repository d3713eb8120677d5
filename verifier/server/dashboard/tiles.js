// The figures at a glance. A tone only repeats what the words say.

import {
  UNKNOWN, ago, bytes, bytesADay, compact, count, counted, day, daysToExfiltrate, duration, number, orUnknown, percent,
  probability,
} from "./format.js";
import { tapTiles } from "./taps.js";

export function tiles(status) {
  return [...[series, bound, weights, share, lag, flagged, evidence, traffic].map((tile) => tile(status)), ...tapTiles(status)];
}

function series({ bounds, conclusiveness }) {
  const { series: limit } = bounds;
  return {
    name: "All answers so far have carried, at most",
    figure: limit === null ? UNKNOWN : `${number(limit.bits_per_token)} bits a token`,
    note:
      limit === null
        ? "no archive is audited yet"
        : `${bytes(limit.bits / 8)} in all, in ${counted(limit.records, "answer")} since ${day(limit.since)}, ` +
          `audited or not${surely(limit, bounds)}${wide(conclusiveness)}`,
  };
}

function surely({ records, audited_records: audited, stock_bits: once }, { confidence }) {
  return audited === records
    ? ": every one was audited"
    : `; ${bytes(once / 8)} of it count once; ${percent(confidence)} confidence, at all times at once`;
}

// A limit far above what the verdict needs rests on how little was audited, and not on what was seen.
function wide({ conclusive, wanted }) {
  return conclusive ? "" : `; a verdict needs at most ${number(wanted)} bits a token`;
}

function bound({ bounds }) {
  return {
    name: "Can leave unseen, at most",
    figure: orUnknown(bounds.bits_per_day, bytesADay),
    note: `all channels that are counted, at ${percent(bounds.confidence)} confidence${open(bounds)}`,
    tone: bounds.open_channels.length > 0 ? "suspicious" : null,
  };
}

function open({ open_channels: channels }) {
  return channels.length === 0 ? "" : `. OPEN, and not in it: ${channels.join(", ").replaceAll("_", " ")}`;
}

function weights({ bounds, conclusiveness }) {
  return {
    name: "Time until the weights are gone, at least",
    figure: daysToExfiltrate(bounds, conclusiveness),
    note: conclusiveness.conclusive
      ? `${bytes(bounds.weights_bytes)} of weights, if all of the bound is used`
      : missing(conclusiveness),
  };
}

// What the audit needs, briefly.
function missing({ tokens_needed: tokens }) {
  return tokens === null
    ? "a figure needs a smaller limit of what tokens carry, and more audits like these do not lower it"
    : `too little was audited: a figure needs about ${compact(tokens)} more audited tokens`;
}

function share({ audit }) {
  return {
    name: "Audited share of the tokens",
    figure: orUnknown(audit.audited_share, percent),
    note:
      `${counted(audit.audited_records, "record")}, ${compact(audit.audited_tokens)} tokens; ` +
      `selected: ${orUnknown(audit.selected_share, percent)} of the tokens; ` +
      `rate now: ${orUnknown(audit.rate, (rate) => `${percent(rate)} ${rateOf(audit.by)}`)}`,
  };
}

// What an audit rate is a share of.
function rateOf(by) {
  return by === "tokens" ? "of answers of 1,016 tokens, others by their tokens" : "of the records";
}

function lag({ audit }) {
  const age = audit.lag_seconds === null ? "nothing waits" : duration(audit.lag_seconds);
  return {
    name: "Lag of the audit",
    figure: audit.behind ? `behind: ${age}` : age,
    note: `at most ${duration(audit.max_lag_seconds)} wanted; ${backlog(audit)}; ${pace(audit)}`,
    tone: audit.behind ? "suspicious" : null,
  };
}

function backlog(audit) {
  return `backlog: ${counted(audit.backlog_records, "record")}, ${compact(audit.backlog_tokens)} tokens`;
}

function pace({ tokens_per_second: pace }) {
  return pace === null ? "pace not yet known" : `${compact(pace)} tokens a second`;
}

function flagged({ audit }) {
  return {
    name: "Flagged records",
    figure: audit.audited_records === 0 ? UNKNOWN : count(audit.flagged),
    note:
      `of ${count(audit.audited_records)} audited; ${count(audit.unverifiable)} could not be replayed` +
      (audit.outside_grammar > 0 ? `; ${counted(audit.outside_grammar, "token")} outside a request's grammar` : ""),
    tone: audit.flagged > 0 ? "suspicious" : null,
  };
}

function evidence({ monitor, audit }) {
  const beyond = monitor.p_value <= monitor.alarm_level;
  return {
    name: "p-value of the monitor",
    figure: audit.audited_records === 0 ? UNKNOWN : probability(monitor.p_value),
    note:
      `${beyond ? "beyond the alarm's threshold of" : "the alarm is raised at"} ${probability(monitor.alarm_level)}; ` +
      "at most this share of honest traffic ever looks so bad",
    tone: beyond ? "dangerous" : null,
  };
}

function traffic({ traffic }) {
  return {
    name: "Traffic",
    figure: orUnknown(traffic.tokens_per_day, (tokens) => `${compact(tokens)} tokens a day`),
    note:
      `${counted(traffic.archives, "archive")}; the last one ` +
      `${traffic.last_archive_at === null ? UNKNOWN : ago(traffic.last_archive_at)}`,
  };
}
