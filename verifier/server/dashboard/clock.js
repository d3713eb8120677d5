// The server's time, so that ages are right where this machine's clock is wrong.

let ahead = 0;

export function setClock(now) {
  ahead = now - Date.now() / 1000;
}

// Seconds since 1970.
export function now() {
  return Date.now() / 1000 + ahead;
}
