// The server's time: what it said last, and what has passed here since. No page goes by its computer's own clock.

export const STALE_S = 5, DASHES_S = 15;

export class ServerTime {
  /** `now`: when the page was made, by the server's clock. */
  constructor(now) {
    this.serverMs = this.readMs = Date.parse(now);
    this.trouble = "";
    // The page was made before its script ran, and no later than its first byte came.
    const [arrival] = performance.getEntriesByType("navigation"), at = arrival ? arrival.responseStart : performance.now();
    this.heard = { steady: at, wall: Date.now() - (performance.now() - at) };
    // What the server's time is ahead of the steady clock here: of its last words the one that was quickest to come.
    this.ahead = [this.serverMs - at];
  }

  hear(tick) {
    this.serverMs = Date.parse(tick.now);
    this.readMs = tick.read ? Date.parse(tick.read) : this.readMs;
    this.trouble = tick.trouble;
    this.heard = { steady: performance.now(), wall: Date.now() };
    this.ahead = [...this.ahead.slice(-7), this.serverMs - this.heard.steady];
  }

  /** Since the server's last word. The steady clock stands still while a computer sleeps; the other one may be set. */
  silentMs() { return Math.max(performance.now() - this.heard.steady, Date.now() - this.heard.wall); }

  now() { return this.heard.steady + Math.max(...this.ahead) + this.silentMs(); }

  /** How old what is shown is, at least. */
  behindS() { return Math.max(this.silentMs(), this.now() - this.readMs) / 1000; }

  /** When what is shown was true. */
  since() { return clock(Math.min(this.readMs, this.serverMs)); }
}

export const clock = ms => new Date(ms).toISOString().slice(11, 19);

export function age(ms) {
  const s = Math.max(0, ms / 1000);
  if (s < 3) return s.toFixed(1) + " s ago";
  if (s < 120) return Math.floor(s) + " s ago";
  return s < 7200 ? Math.floor(s / 60) + " min ago" : "";
}

export function write(element, text) { if (element.textContent !== text) element.textContent = text; }
