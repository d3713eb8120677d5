// Numbers, sizes and times as text, for people.

import { now } from "./clock.js";

const LOCALE = "en";
const COUNT = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const NUMBER = new Intl.NumberFormat(LOCALE, { maximumSignificantDigits: 3 });
const PERCENT = new Intl.NumberFormat(LOCALE, { style: "percent", maximumSignificantDigits: 3 });
const COMPACT = new Intl.NumberFormat(LOCALE, { notation: "compact", maximumSignificantDigits: 3 });
const BYTE_UNITS = ["bytes", "kB", "MB", "GB", "TB", "PB"];
const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const YEAR = 365.25 * DAY;
// Below this a probability is shown as a power of ten.
const SMALL = 1e-3;

export const UNKNOWN = "not yet known";

export function count(value) {
  return COUNT.format(value);
}

// "1 record", "2 records".
export function counted(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

export function number(value) {
  return NUMBER.format(value);
}

export function compact(value) {
  return COMPACT.format(value);
}

export function percent(share) {
  return PERCENT.format(share);
}

export function orUnknown(value, format) {
  return value === null ? UNKNOWN : format(value);
}

export function orDash(value, format) {
  return value === null ? "–" : format(value);
}

export function power(exponent) {
  const digits = [...String(Math.abs(exponent))].map((digit) => SUPERSCRIPTS[digit] ?? "·").join("");
  return `10${exponent < 0 ? "⁻" : ""}${digits}`;
}

export function probability(p) {
  if (p === 0) {
    return `below ${power(-300)}`;
  }
  if (p >= SMALL) {
    return NUMBER.format(p);
  }
  const exponent = Math.floor(Math.log10(p));
  return `${(p / 10 ** exponent).toFixed(1)} × ${power(exponent)}`;
}

export function bytes(value) {
  const step = value < 1 ? 0 : Math.min(Math.floor(Math.log10(value) / 3), BYTE_UNITS.length - 1);
  return `${NUMBER.format(value / 1000 ** step)} ${BYTE_UNITS[step]}`;
}

export function bytesADay(bitsPerDay) {
  return `${bytes(bitsPerDay / 8)} a day`;
}

// The largest unit, and the next where that says more.
export function duration(seconds) {
  if (seconds < MINUTE) {
    return `${Math.max(Math.floor(seconds), 0)} s`;
  }
  if (seconds < HOUR) {
    return `${Math.floor(seconds / MINUTE)} min`;
  }
  if (seconds < 2 * DAY) {
    const minutes = Math.floor((seconds % HOUR) / MINUTE);
    return `${Math.floor(seconds / HOUR)} h${minutes === 0 ? "" : ` ${minutes} min`}`;
  }
  return seconds < 2 * YEAR ? `${Math.floor(seconds / DAY)} days` : `${NUMBER.format(seconds / YEAR)} years`;
}

// Days until the weights are gone: null is never, once a rate is known and the audit is conclusive.
export function daysToExfiltrate({ days_to_exfiltrate: days, bits_per_day: bits }, { conclusive }) {
  if (bits === null || !conclusive) {
    return UNKNOWN;
  }
  return days === null ? "never" : duration(days * DAY);
}

// null is a token that the sampler could not have sent at all.
export function margin(logits) {
  return logits === null ? "outside the support" : `${number(logits)} logits`;
}

export function day(at) {
  const date = new Date(at * 1000);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

export function hour(at) {
  const date = new Date(at * 1000);
  return `${two(date.getHours())}:${two(date.getMinutes())}`;
}

export function time(at) {
  return `${day(at)} ${hour(at)}`;
}

export function timeWithSeconds(at) {
  return `${time(at)}:${two(new Date(at * 1000).getSeconds())}`;
}

export function ago(at) {
  return `${duration(now() - at)} ago`;
}

export function range(start, end) {
  return start === null || end === null ? "–" : `${count(start)} to ${count(end - 1)}`;
}

function two(value) {
  return String(value).padStart(2, "0");
}
