// When the server is asked: the status every 5 s, all else every 15 s or at once when the status changes. While nobody
// looks the status alone, for the title and the icon of the tab, every 30 s.

import { get } from "./api.js";
import { setClock } from "./clock.js";
import { answered, lost } from "./connection.js";
import { showLost, showStatus } from "./status.js";
import { refresh } from "./view.js";

const STATUS_MS = 5_000;
const REST_MS = 15_000;
const HIDDEN_MS = 30_000;

export class Heartbeat {
  // views(): those that can be seen now.
  constructor(views) {
    this.views = views;
    this.seen = null;
    this.restAt = -Infinity;
    this.timer = null;
    this.beating = false;
    document.addEventListener("visibilitychange", () => this.beat());
  }

  // Ask now, and again later. One at a time: a slow server is not asked twice.
  async beat() {
    clearTimeout(this.timer);
    if (this.beating) {
      return;
    }
    this.beating = true;
    try {
      await this.#ask();
    } finally {
      this.beating = false;
      this.timer = setTimeout(() => this.beat(), document.hidden ? HIDDEN_MS : STATUS_MS);
    }
  }

  async refreshAll() {
    this.restAt = performance.now();
    await Promise.all(this.views().map(refresh));
  }

  async #ask() {
    const changed = await this.#status();
    if (document.hidden) {
      this.restAt = -Infinity;
    } else if (changed || performance.now() - this.restAt >= REST_MS) {
      await this.refreshAll();
    }
  }

  // Whether what the status says makes other figures old.
  async #status() {
    let status;
    try {
      status = await get("status");
    } catch (error) {
      lost(error);
      showLost();
      return false;
    }
    answered();
    setClock(status.now);
    showStatus(status);
    const seen = newsworthy(status);
    const changed = seen !== this.seen;
    this.seen = seen;
    return changed;
  }
}

// What an operator waits for. Not the counts of audited records and tokens, which always change.
function newsworthy({ state, reasons, quarantined, traffic, audit }) {
  const incidents = reasons.map((incident) => [incident.id, incident.lasting, incident.acknowledged_at]);
  return JSON.stringify([state, incidents, quarantined, traffic.archives, audit.flagged]);
}
