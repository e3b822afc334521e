// A wall screen: shows what the stream brings, says how old it is, and comes back by itself from anything.

import { DASHES_S, STALE_S, ServerTime, clock, write } from "./clock.js";
import { isOver, open } from "./stream.js";
import { put } from "./swap.js";

const QUIET_MS = 3000, AGAIN_MS = 2000;
const body = document.body, time = new ServerTime(body.dataset.now);
const all = selector => [...document.querySelectorAll(selector)];
let source = null, beats = 0, gone = "", looks = 0;

function connect() {
  if (source) source.close();
  source = open(body.dataset.events, ({ name, data }) => {
    if (name === "fragment") { put(data); paint(); }
    else if (name === "tick") hear(JSON.parse(data));
    else if (name === "revoked") leave();
  });
}

function hear(tick) {
  time.hear(tick);
  body.style.setProperty("--beat", ++beats % 5);
  if (tick.version !== body.dataset.version) renew();
  paint();
}

/** A new version's page is put up when it can be had: a server that is just starting would leave an error on the wall. */
async function renew() {
  const reply = await fetch(location.href, { signal: AbortSignal.timeout(5000) }).catch(() => null);
  if (reply && reply.ok) location.reload();
}

async function poll() {
  const reply = await fetch(body.dataset.poll, { signal: AbortSignal.timeout(5000) }).catch(() => null);
  if (reply && reply.status === 404) leave();
  if (!reply || !reply.ok) return;
  const { tick, fragments } = await reply.json();
  fragments.forEach(put);
  hear(tick);
}

function leave() {
  gone = "REVOKED";
  source.close();
  paint();
}

function paint() {
  const now = time.now(), behindS = time.behindS(), stale = gone || behindS > STALE_S;
  for (const one of all("[data-clock]")) write(one, clock(now));
  for (const one of all("[data-behind]")) write(one, behindS < 100 ? behindS.toFixed(1) + " s" : Math.floor(behindS / 60) + " min");
  for (const one of all("[data-since]")) write(one, Math.floor((now - Date.parse(one.dataset.since)) / 1000) + " s");
  body.classList.toggle("stale", Boolean(stale));
  withhold(Boolean(gone) || behindS > DASHES_S);
  const word = document.querySelector(".hero .word"), [text, small] = word.childNodes;
  word.dataset.word ??= text.data;
  text.data = gone || (stale ? "STALE" : word.dataset.word);
  small.dataset.detail ??= small.textContent;
  write(small, gone ? "this screen's address" : stale ? `since ${time.since()}` : small.dataset.detail);
  document.title = `${text.data} | panicboard wall`;
}

/** What nobody knows any more is a dash. */
function withhold(dashes) {
  body.classList.toggle("dashes", dashes);
  for (const one of all(".v, .tile .s")) {
    if (dashes) { one.dataset.was ??= one.textContent; write(one, "\u2013"); }
    else if ("was" in one.dataset) { write(one, one.dataset.was); delete one.dataset.was; }
  }
}

connect();
paint();
setInterval(paint, 100);
setInterval(() => {
  if (gone || time.silentMs() < QUIET_MS) return;
  poll();
  if (isOver(source) || ++looks % 5 === 0) connect();
}, AGAIN_MS);
