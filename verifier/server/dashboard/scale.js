// Scales from figures to pixels, and round ticks on them.

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const TIME_STEPS = [
  MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR,
  DAY, 2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 91 * DAY, 365 * DAY,
];

// A scale is {at(value), ticks}: `at` keeps within the range, so that nothing is drawn outside of a chart.
export function linear([low, high], [from, to], count = 5) {
  const step = roundStep((high - low) / count);
  const ticks = [];
  for (let n = Math.ceil(low / step); n * step <= high + step * 1e-9; n += 1) {
    ticks.push(n * step);
  }
  return { at: (value) => between(from, to, (value - low) / (high - low)), ticks };
}

// Values below `low` (zero among them) stand at the low end.
export function logarithmic([low, high], [from, to], count = 6) {
  const [bottom, top] = [Math.log10(low), Math.log10(high)];
  const step = Math.max(1, Math.ceil((top - bottom) / count));
  const ticks = [];
  for (let n = Math.ceil(bottom - 1e-9); n <= top + 1e-9; n += step) {
    ticks.push(10 ** n);
  }
  return {
    at: (value) => between(from, to, (Math.log10(Math.max(value, low)) - bottom) / (top - bottom)),
    ticks,
  };
}

// Ticks at round local times.
export function timeline([first, last], [from, to], count) {
  const step = TIME_STEPS.find((each) => (last - first) / each <= count) ?? 365 * DAY;
  const ahead = -MINUTE * new Date(last * 1000).getTimezoneOffset();
  const ticks = [];
  for (let n = Math.ceil((first + ahead) / step); n * step - ahead <= last; n += 1) {
    ticks.push(n * step - ahead);
  }
  return { at: (value) => between(from, to, (value - first) / (last - first)), ticks };
}

// 1, 2 or 5 times a power of ten, at least `least`.
function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least * (1 - 1e-9));
}

function between(from, to, share) {
  return from + (to - from) * Math.min(Math.max(share, 0), 1);
}
