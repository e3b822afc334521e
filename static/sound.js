// Tones for what must be heard across a room. Off until a person switches them on; what is shown never changes by it.

// Each tone: [hertz, seconds] one after the other; 0 hertz is a rest. They differ in rhythm and direction, not in pitch alone.
const TONES = {
  panic: [[988, .12], [0, .06], [988, .12], [0, .06], [988, .12], [0, .06], [988, .3]],
  "not clear": [[440, .25], [349, .25], [440, .25], [349, .4]],
  clear: [[523, .15], [659, .15], [784, .35]],
  lapsing: [[740, .12], [0, .25], [740, .12]],
  stale: [[294, .5], [0, .2], [220, .7]],
  on: [[659, .1], [784, .15]],
};
const LOUDNESS = .2, KEY = "panicboard-sound", STALE_AGAIN_MS = 30_000;

let context = null, leads = false, was = null, staleAt = 0;
const wanted = () => localStorage.getItem(KEY) === "on";
const sounds = () => wanted() && context && context.state === "running";

function play(name, here = leads) {
  if (!sounds() || !here) return;
  let at = context.currentTime + .02;
  for (const [hertz, seconds] of TONES[name]) {
    if (hertz) {
      const tone = context.createOscillator(), level = context.createGain();
      tone.frequency.value = hertz;
      level.gain.setValueAtTime(LOUDNESS, at);
      level.gain.exponentialRampToValueAtTime(.001, at + seconds);
      tone.connect(level).connect(context.destination);
      tone.start(at);
      tone.stop(at + seconds);
    }
    at += seconds;
  }
  document.dispatchEvent(new CustomEvent("panicboard:tone", { detail: name }));
}

// Of a browser's tabs one sounds. Where tabs cannot agree (no locks without https), each of them does.
function lead() {
  if (leads) return;
  if (!navigator.locks) { leads = true; return; }
  navigator.locks.request(KEY, () => { leads = true; return new Promise(() => {}); });
}

async function allow() {
  context ??= new AudioContext();
  await context.resume();
  lead();
}

function show(button) {
  const on = wanted(), waits = on && !sounds();
  button.setAttribute("aria-pressed", on);
  button.querySelector("use").setAttribute("href", on && !waits ? "#i-sound" : "#i-mute");
  const text = waits ? "Sound waits for a click" : on ? "Sound on" : "Sound off", words = button.querySelector("span");
  if (words.textContent !== text) words.textContent = text;
}

/** What there is to hear, by the summary's own numbers; the first look only takes note of them. */
function listen(summary) {
  const { running, notclear, lapsing, fired, unproven } = summary.dataset;
  const now = { running: +running, bad: +notclear + +fired, lapsing: +lapsing, unproven: +unproven };
  if (was) {
    if (now.running > was.running) play("panic");
    else if (now.bad > was.bad) play("not clear");
    else if (was.running && !now.running && !now.unproven) play("clear");
    else if (now.lapsing > was.lapsing) play("lapsing");
  }
  was = now;
}

/** Follow a page: `summary()` is its element now, `stale()` whether it is old. */
export function sound(button, summary, stale) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const on = !wanted() || !sounds();
    localStorage.setItem(KEY, on ? "on" : "off");
    if (on) {
      await allow();
      play("on", true); // whoever switches it on hears it, whichever tab sounds from then on
    }
    show(button);
  });
  // A browser lets no page sound before somebody touched it.
  const touched = () => { if (wanted() && !sounds()) allow().then(() => show(button)); };
  for (const type of ["pointerdown", "keydown"]) document.addEventListener(type, touched);
  setInterval(() => {
    show(button);
    if (stale()) {
      if (performance.now() - staleAt > STALE_AGAIN_MS || !staleAt) { play("stale"); staleAt = performance.now(); }
    } else { staleAt = 0; listen(summary()); }
  }, 200);
}
