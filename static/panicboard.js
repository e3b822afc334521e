// What a page does by itself: hold to press, ages and staleness, the stream, the order of rows.
// Nothing depends on it: without a script a stop leads to two steps, and a reload shows what is so now.

import { DASHES_S, STALE_S, ServerTime, age, clock, write } from "./clock.js";
import { sound } from "./sound.js";
import { open } from "./stream.js";
import { put } from "./swap.js";

const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const byId = id => document.getElementById(id);
const body = document.body;
const stream = byId("stream");

const time = new ServerTime(body.dataset.now);
let signedOut = false;

function longAge(ms) {
  const hours = Math.floor(ms / 3_600_000);
  return hours < 72 ? hours + " h ago" : Math.floor(hours / 24) + " days ago";
}

// ---- painting: everything that changes with time alone, ten times a second ----
function paint() {
  const now = time.now(), behindS = time.behindS();
  for (const one of $$("time[data-age]")) {
    const at = Date.parse(one.dateTime);
    write(one, age(now - at) || (one.dataset.age === "long" ? longAge(now - at) : clock(at)));
  }
  for (const chip of $$("[data-proof]")) {
    const s = (now - Date.parse(chip.dataset.proof)) / 1000;
    chip.classList.toggle("done", s < 10);
    chip.classList.toggle("aged", s >= 60);
  }
  for (const one of $$("[data-since]")) write(one, ((now - Date.parse(one.dataset.since)) / 1000).toFixed(3) + " s");
  for (const one of $$("[data-until]")) {
    const left = (Date.parse(one.dataset.until) - now) / 1000, words = "in" in one.dataset ? "in " : "";
    write(one, left > 0 ? words + (left < 10 ? left.toFixed(1) : Math.ceil(left)) + " s" : "now");
  }
  for (const timer of $$(".timer[data-deadline]")) paintTimer(timer, (Date.parse(timer.dataset.deadline) - now) / 1000);
  for (const one of $$("[data-clock]")) write(one, clock(now));
  for (const one of $$("[data-update]")) write(one, "last update " + (behindS < 7200 ? age(behindS * 1000) : "long ago"));
  for (const one of $$("[data-title]")) if (document.title !== one.dataset.title) document.title = one.dataset.title;
  paintStale(behindS);
}

// A countdown never runs on past what was last acknowledged: at its deadline it stops, and says so. Only what is
// worse than the server said is added here: it may lapse for other reasons than the time that is left.
function paintTimer(timer, leftS) {
  const total = Number(timer.dataset.total), left = Math.max(0, leftS), bar = timer.querySelector(".bar");
  bar.querySelector(".left").setAttribute("x2", (100 * Math.min(1, left / total)).toFixed(1) + "%");
  if (left < total / 4) bar.classList.add("lapsing");
  if (left === 0) bar.classList.add("fired");
  timer.classList.toggle("passed", left === 0);
  write(timer.querySelector("[data-secs]"), left === 0 ? "DEADLINE PASSED" : left.toFixed(1) + " s");
}

function paintStale(behindS) {
  const stale = behindS > STALE_S || signedOut, dashes = behindS > DASHES_S;
  body.classList.toggle("stale", stale);
  body.classList.toggle("dashes", dashes);
  if (!stale) { write(byId("stale-line"), ""); return; }
  const [say, why] = $$("#stale p"), since = time.since();
  write(say, signedOut ? "SIGNED OUT" : `STALE ${Math.floor(behindS)} s`);
  write(why, signedOut ? `Values are those of ${since}. The stop still works: it asks you to sign in, then to confirm.`
    : time.trouble ? `${time.trouble} since ${since}. The stop still sends.`
    : `No word from the server since ${since}. The stop still works: a press is sent straight from this page.`);
  write(byId("stale-line"), signedOut ? "Signed out." : dashes ? "Stale, values withheld." : "Stale.");
  const scope = byId("stop-scope").dataset;
  write(byId("stop-stale"), `order count unknown (${scope.orders} at ${since}) \u00b7 ${scope.accounts} accounts`);
}

const refuse = textContent => byId("refusal").replaceChildren(Object.assign(document.createElement("p"), { className: "refused", textContent }));
// What nobody holds: htmx alone would let it end in silence.
for (const name of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) document.addEventListener(name, e => {
  const asked = e.target, status = e.detail.xhr ? e.detail.xhr.status : 0;
  if (status === 401) leave();
  else if (asked.matches("form[data-hold]")) return; // says so itself
  else if (asked.matches("[hx-trigger^=every]")) notRead(asked, status);
  else if (asked.matches("#find, #finder")) refuse("NO ANSWER - the orders that are shown are not those you asked for. Try again.");
  else if (asked.matches("[hx-get]")) refuse("NO ANSWER - what is shown is as it was before. Try again.");
  else if (status === 503) refuse("NOT DONE - the database does not answer. Try again when it does.");
  else refuse("NO ANSWER - nobody knows whether this was done. Look at what is shown, and try again.");
});
// A part of a page that asks for itself again and again says in its own first line that it is old; what comes next has no such line.
function notRead(part, status) {
  if (part.querySelector(".not-read")) return;
  const why = status === 503 ? "the database does not answer" : status ? `the server answered ${status}` : "the server does not answer";
  part.prepend(Object.assign(document.createElement("p"), { className: "not-read err", role: "alert", textContent: `NOT READ since ${clock(time.now())}: ${why}. Asked again all the time; what stands here is as it was.` }));
}

// ---- hold to press: by pointer, Enter or Space. A timer fires; the fill is only paint. ----
let holding = null;
// A finger trembles so far. One that goes further scrolls the page: it does not press.
const SLIP_PX = 24;

function holdable(form) {
  // What a person chose by hand is cancelled whatever it is, and a scope that was asked for says itself what it keeps.
  const itself = form.id === "chosen" || form.elements.namedItem("keep"), keeps = () => !itself && body.classList.contains("keeps");
  const button = form.querySelector("button"), say = form.querySelector(".say"), how = form.querySelector(".how");
  const holdMs = Number(form.dataset.hold), restWord = say.textContent;
  let from = 0, fire = 0, fill = 0, back = 0, pointed = false, sending = false, at = null;

  function words(big, small, word) {
    write(say, how ? big : word);
    if (!how) return;
    const [first, second] = small;
    how.replaceChildren(first, document.createElement("br"), second);
  }
  function rest() {
    sending = false;
    form.style.setProperty("--held", 0);
    const scope = byId("stop-scope"), word = keeps() ? "Cancel rest" : restWord;
    const [all, trying] = keeps() ? ["CANCEL THE REST", "TRY THE REST"] : ["CANCEL ALL", "TRY CANCEL ALL"];
    if (scope.hasAttribute("data-join")) words("PANIC RUNNING", ["hold 1 s", "to join"], word);
    else words(scope.hasAttribute("data-try") ? trying : all, ["hold", "1 s"], word);
  }
  function later(ms) { clearTimeout(back); back = setTimeout(rest, ms); }
  function step() {
    const held = performance.now() - from, leftS = Math.max(0, holdMs - held) / 1000;
    form.style.setProperty("--held", Math.min(1, held / holdMs));
    words("KEEP HOLDING", [leftS.toFixed(1) + " s", "more"], "Holding");
  }
  function start() {
    if (from || sending) return;
    clearTimeout(back);
    from = performance.now();
    holding = stop;
    fire = setTimeout(send, holdMs);
    fill = setInterval(step, 40);
    step();
  }
  function letGo() { clearTimeout(fire); clearInterval(fill); from = 0; holding = null; }
  function stop() {
    if (!from) return;
    const heldS = ((performance.now() - from) / 1000).toFixed(1);
    letGo();
    form.style.setProperty("--held", 0);
    words("NOT SENT", ["let go", `at ${heldS} s`], "Not sent");
    later(2500);
  }
  function send() {
    const heldMs = Math.round(performance.now() - from);
    letGo();
    sending = true;
    form.style.setProperty("--held", 1);
    words("SENT", [clock(time.now()), "waiting"], "Sent");
    setField("held_ms", heldMs);
    if (!itself) setField("keep", keeps() ? "protective" : "");
    // A page may be older than the login; the cookie is not.
    const token = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
    if (token) setField("csrfmiddlewaretoken", token[1]);
    form.requestSubmit();
  }
  function setField(name, value) {
    let field = form.elements.namedItem(name);
    if (!field) {
      field = Object.assign(document.createElement("input"), { type: "hidden", name });
      form.append(field);
    }
    field.value = value;
  }
  function failed(big, small, word) { setField("held_ms", ""); words(big, small, word); form.style.setProperty("--held", 0); later(6000); }

  button.addEventListener("pointerdown", e => {
    pointed = true;
    if (e.button || !e.isPrimary) return;
    at = e.pointerType === "mouse" ? null : { x: e.clientX, y: e.clientY };
    button.setPointerCapture(e.pointerId);
    start();
  });
  button.addEventListener("pointermove", e => { if (at && Math.hypot(e.clientX - at.x, e.clientY - at.y) > SLIP_PX) stop(); });
  for (const type of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) button.addEventListener(type, stop);
  button.addEventListener("contextmenu", e => e.preventDefault());
  const isKey = e => e.key === "Enter" || e.key === " ";
  button.addEventListener("keydown", e => { if (isKey(e)) { e.preventDefault(); if (!e.repeat) start(); } });
  button.addEventListener("keyup", e => { if (isKey(e)) { e.preventDefault(); stop(); } });
  // A click that no finger, mouse or key made comes from a tool that cannot hold: the server asks in two steps.
  button.addEventListener("click", e => { if (pointed || e.detail) e.preventDefault(); pointed = false; });

  const answered = name => form.addEventListener(name, () => {
    failed("NO ANSWER", ["press again", "it joins"], "No answer");
    refuse("NO ANSWER - nobody knows whether this press arrived. Press again: a second press joins the first. From a shell: manage.py panic --all");
  });
  ["htmx:sendError", "htmx:timeout", "htmx:responseError"].forEach(answered);
  form.addEventListener("htmx:afterRequest", e => {
    const status = e.detail.xhr && e.detail.xhr.status;
    if (status === 422 || status === 403 || status === 503) failed("NOT SENT", ["see", "below"], "Not sent");
    if (status === 503) refuse("NOT SENT - the database does not answer. From a shell, with the sealed file: manage.py panic --break-glass FILE --all");
  });
  return () => { if (!from && !sending && say.textContent !== "NOT SENT" && say.textContent !== "NO ANSWER") rest(); };
}

// ---- the stream: shared with the other tabs where that can be; a poll stands in where nothing arrives ----
const POLL_MS = 2000, QUIET_MS = 3000, ALIVE_MS = 10_000;
const inFull = new URLSearchParams(location.search).getAll("all");
const opened = new Map($$("tr.detail:not([hidden])").map(row => [row.dataset.sweep, inFull.includes(row.dataset.sweep)]));
const printing = document.querySelector("[data-print]");
let shared = null, source = null, polls = 0;

function query() {
  const sweeps = printing ? [] : [...opened].map(([pk, full]) => `${full ? "all" : "sweep"}=${pk}`);
  const desks = $$("tbody[data-all]").map(desk => `desk=${desk.dataset.desk}`);
  return [stream.dataset.topics, ...sweeps, ...desks].filter(Boolean).join("&");
}
function share() {
  if (!window.SharedWorker) return;
  shared = new SharedWorker(stream.dataset.worker, { type: "module" });
  shared.port.onmessage = e => hearEvent(e.data);
  shared.onerror = () => { shared = null; connect(); };
}
function connect() {
  if (signedOut) return;
  if (shared) { shared.port.postMessage({ address: stream.dataset.events, query: query() }); return; }
  if (source) source.close();
  // A browser opens few connections to one server: where none can be shared, hidden pages poll.
  if (!document.hidden) source = open(`${stream.dataset.events}?${query()}`, hearEvent);
}
function hearEvent({ name, data }) {
  if (name === "fragment") swap([data]);
  else if (name === "tick") { time.hear(JSON.parse(data)); paint(); }
  else leave();
}
// Many may come at once: they are put in together, so that the page is laid out once for all of them. The first
// after a while do not wait for others but for what came with them.
const SWAP_MS = 20, FIRST_MS = 1;
let fragments = [], swaps = 0, swappedAt = 0;
function swap(brought) {
  fragments.push(...brought);
  swaps ||= setTimeout(swapAll, performance.now() - swappedAt > 2 * SWAP_MS ? FIRST_MS : SWAP_MS);
}
function swapAll() {
  const brought = fragments;
  swappedAt = performance.now();
  [fragments, swaps] = [[], 0];
  for (const html of brought) {
    const [, account] = html.match(/id="account-(\d+)-state"/) || [];
    if (account && !byId(`account-${account}`)) bringSoon(account);
    else put(html);
  }
  swapped();
}
function leave() {
  signedOut = true;
  if (source) source.close();
  paint();
}
async function poll() {
  const reply = await fetch(`${stream.dataset.poll}?${query()}`, { signal: AbortSignal.timeout(5000) }).catch(() => null);
  if (reply && reply.status === 401) leave();
  if (!reply || !reply.ok) return;
  const { tick, fragments } = await reply.json();
  time.hear(tick);
  swap(fragments);
}
function watch() {
  if (signedOut || time.silentMs() < QUIET_MS) return;
  poll();
  if (++polls % 5 === 0) connect(); // and try the stream again now and then
}
function swapped() {
  tellFolded();
  for (const link of $$("[data-toggle]")) link.setAttribute("aria-expanded", opened.has(link.dataset.toggle));
  for (const refresh of stops) refresh();
  const plate = byId("stop"), scope = byId("stop-scope");
  if (plate.matches("form")) plate.classList.toggle("notready", scope.hasAttribute("data-grey"));
  paint();
}

// ---- rows: worst first, moved only while nobody points at them ----
const ARRANGE_MS = 5000, ROWS_A_DESK = 4, NORMAL = 4, BAD = 1, MOST_OPEN = 6;
let arrangedAt = performance.now(), auto = !/[?&](sweep|all)=/.test(location.search);
const key = row => { const d = (row.querySelector("[data-rank]") || row).dataset; return [Number(d.rank), -Number(d.open), d.name]; };
const worseFirst = ([, x], [, y]) => x[0] - y[0] || x[1] - y[1] || (x[2] < y[2] ? -1 : 1);
const isHeld = table => table.matches(":hover") || table.contains(document.activeElement);

function arrange(table, every) {
  if (performance.now() - arrangedAt < every || isHeld(table)) return;
  arrangedAt = performance.now();
  if (table.id === "board") $$("tbody", table).forEach(arrangeDesk);
  else arrangeSweeps(table.tBodies[0]);
}
function inOrder(rows) {
  const sorted = rows.map(row => [row, key(row)]).sort(worseFirst).map(([row]) => row);
  return [sorted, sorted.some((row, i) => row !== rows[i])];
}
function arrangeDesk(desk) {
  const quiet = desk.querySelector("tr.quiet"), [sorted, moved] = inOrder($$("tr.acc", desk));
  if (moved) sorted.forEach(row => desk.insertBefore(row, quiet));
  const shown = Math.max(ROWS_A_DESK, sorted.filter(row => key(row)[0] < NORMAL).length), all = desk.hasAttribute("data-all");
  sorted.forEach((row, i) => {
    row.hidden = i >= shown && !all;
    byId("quiet-" + row.id.split("-")[1]).hidden = i < shown;
  });
  const folded = $$("li:not([hidden])", quiet).length;
  quiet.hidden = !folded && !quiet.querySelector(".said").textContent;
  write(quiet.querySelector(".quiet-n"), String(folded));
  quiet.querySelector(".more").setAttribute("aria-expanded", all);
}

// Rows of accounts that are folded away are not on the page: they come when they are to be seen.
const wanted = new Set();
let bringing = 0;
function bringSoon(account) {
  wanted.add(`account=${account}`);
  clearTimeout(bringing);
  bringing = setTimeout(bringWanted, 50);
}
async function bringWanted() {
  const asked = [...wanted];
  wanted.clear();
  const came = await bring(asked.join("&"));
  for (const one of asked) {
    const desk = byId("quiet-" + one.split("=")[1])?.closest("tbody");
    if (desk && !desk.querySelector(".said").textContent.startsWith("Loading")) say(desk, came ? "" : "NOT LOADED: an account here has changed. Trying again.");
  }
  if (came || signedOut) return;
  asked.forEach(one => wanted.add(one));
  bringing = setTimeout(bringWanted, POLL_MS);
}
async function openDesk(desk) {
  say(desk, "Loading its accounts ...");
  const came = await bring(`desk=${desk.dataset.desk}`, true);
  say(desk, came ? "" : "NOT LOADED: no answer. Open it again.");
  if (came) fold(desk, false);
}
function fold(desk, folded) {
  desk.toggleAttribute("data-all", !folded);
  arrangeDesk(desk);
  connect(); // what changes in its rows comes from now on
}
/** Say in a desk's last line how loading its rows goes. */
const say = (desk, words) => write(desk.querySelector(".said"), words);
/** Whether the rows came. */
async function bring(asked, atOnce = false) {
  const reply = await fetch(`${byId("board").dataset.rows}?${asked}`, { signal: AbortSignal.timeout(8000) }).catch(() => null);
  if (reply && reply.status === 401) leave();
  if (!reply || !reply.ok) return false;
  const sent = document.createElement("template");
  sent.innerHTML = await reply.text();
  // One that this page does not name came later than it: the page is about to be loaded again.
  const isMissing = row => !byId(row.id) && byId("quiet-" + row.id.split("-")[1]);
  const rows = $$("tr.acc", sent.content).filter(isMissing), desks = new Set();
  for (const row of rows) {
    const desk = document.querySelector(`tbody[data-desk="${row.dataset.desk}"]`);
    row.hidden = true; // nothing moves under somebody's pointer
    desk.insertBefore(row, desk.querySelector("tr.quiet"));
    desks.add(desk);
    htmx.process(row);
    stops.push(...$$("form[data-hold]", row).map(holdable));
  }
  if (atOnce || !isHeld(byId("board"))) desks.forEach(arrangeDesk);
  paint();
  return true;
}
function arrangeSweeps(rows) {
  const [sorted, moved] = inOrder($$("tr.sweep", rows));
  if (moved) for (const row of sorted) rows.append(row, byId(row.id + "-detail"));
  const worst = sorted[0] && sorted[0].id.split("-")[1];
  if (auto && worst && !opened.has(worst) && Number(sorted[0].dataset.rank) < 5) show(new Map([[worst, false]]));
  foldSweeps(sorted);
}
// Of many sweeps the bad ones have a row, the worst others, and those whose orders are open.
function foldSweeps(sorted = $$("#sweeps tr.sweep")) {
  const { most } = byId("sweeps").dataset, all = byId("sweeps").hasAttribute("data-every");
  sorted.forEach((row, i) => {
    row.hidden = i >= most && !all && Number(row.dataset.rank) > BAD && !opened.has(row.id.split("-")[1]);
  });
  tellFolded();
}
function tellFolded() {
  const rest = byId("sweeps-rest");
  if (!rest || printing) return;
  const rows = $$("#sweeps tr.sweep"), { most } = byId("sweeps").dataset, all = byId("sweeps").hasAttribute("data-every");
  const counts = new Map(), states = rows.filter(row => row.hidden).map(row => row.cells[0].textContent.trim());
  for (const state of states) counts.set(state, (counts.get(state) || 0) + 1);
  rest.hidden = rows.length <= most;
  const more = rest.querySelector(".more");
  write(more, all ? `show the ${most} worst` : `show all ${rows.length}`);
  more.setAttribute("aria-expanded", all);
  write(rest.querySelector(".rest"), [...counts].map(([state, count]) => `${count} ${state}`).join(", "));
}
function show(sweeps) {
  opened.clear();
  // Of many that were opened the latest stay: each is sent anew whenever one of its orders moves.
  for (const [pk, full] of [...sweeps].slice(-MOST_OPEN)) opened.set(pk, full);
  for (const row of $$("tr.detail")) row.hidden = !opened.has(row.dataset.sweep);
  swapped();
  connect();
}

document.addEventListener("click", e => {
  if (e.ctrlKey || e.metaKey || e.shiftKey) return; // in a tab of its own
  const more = e.target.closest("#board tr.quiet .more"), toggle = e.target.closest("[data-toggle]"), all = e.target.closest("a[data-all]");
  const rows = e.target.closest("#sweeps-rest .more"), wanted = e.target.closest("a[data-find]");
  if (wanted && finder) find(wanted.href);
  else if (rows) {
    byId("sweeps").toggleAttribute("data-every");
    foldSweeps();
  } else if (more) {
    const desk = more.closest("tbody");
    if (desk.hasAttribute("data-all")) fold(desk, true);
    else openDesk(desk);
  } else if ((toggle || all) && !printing && byId("sweeps")) {
    const sweeps = new Map(opened), pk = toggle ? toggle.dataset.toggle : all.dataset.all;
    auto = false;
    if (all) sweeps.set(pk, true);
    else if (!sweeps.delete(pk)) sweeps.set(pk, false);
    show(sweeps);
  } else return;
  e.preventDefault();
});

// ---- keeping protective orders: for presses from this page as it stands, and never remembered ----
const keep = byId("keep");
if (keep) keep.addEventListener("change", () => {
  body.classList.toggle("keeps", keep.checked);
  for (const refresh of stops) refresh();
});

// ---- orders that are looked for on the panic's own page ----
const finder = byId("finder");
let asking = false;
async function find(href) {
  asking = true;
  finder.open = true;
  await htmx.ajax("GET", href, { source: finder, target: "#found", swap: "innerHTML" }).catch(() => {}); // see sendError
  asking = false;
  finder.scrollIntoView({ block: "nearest" });
}
if (finder) finder.addEventListener("toggle", () => {
  if (finder.open && !asking && !byId("found").firstElementChild) find(finder.dataset.all);
  else if (!finder.open) byId("found").replaceChildren(); // nor asked for again
});
// Whoever is choosing is not disturbed by what has become of the choices meanwhile.
document.addEventListener("htmx:oobBeforeSwap", e => { if (e.detail.target.contains(document.activeElement)) e.preventDefault(); });

// ---- start ----
const stops = $$("form[data-hold]").map(holdable);
const layout = byId("summary").dataset.layout;
document.addEventListener("visibilitychange", () => {
  if (shared) return;
  if (document.hidden && source) source.close();
  else connect();
});
window.addEventListener("pagehide", () => shared && shared.port.postMessage({ bye: true }));
window.addEventListener("blur", () => holding && holding());
window.addEventListener("pageshow", e => { if (e.persisted) location.reload(); });
const close = byId("refusal-close");
close.hidden = false;
close.addEventListener("click", () => byId("refusal").replaceChildren());
share();
connect();
swapped();
setInterval(paint, 100);
setInterval(() => shared && shared.port.postMessage({}), ALIVE_MS);
setInterval(watch, POLL_MS);
setInterval(() => {
  const board = byId("board"), sweeps = byId("sweeps");
  if (board) arrange(board, ARRANGE_MS);
  if (sweeps && !printing) arrange(sweeps, 2000);
  // Accounts came or went: the rows of this page no longer fit.
  if (byId("main").classList.contains("live") && byId("summary").dataset.layout !== layout && !holding && !isHeld(byId("main"))) location.reload();
}, 1000);
sound(byId("sound"), () => byId("summary"), () => body.classList.contains("stale"));
if (printing) window.addEventListener("load", () => window.print());
