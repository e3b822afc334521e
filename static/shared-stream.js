// One stream for all tabs of a browser: it opens six connections to a server, and ten tabs must not delay a press.
// Each page says what it shows; the stream asks for all of it, and each page is sent its own.

import { isOver, open, topicsOf } from "./stream.js";

const TOGETHER_MS = 50, AGAIN_MS = 2000;
// A page in the background may speak once a minute; one that ended in silence is forgotten.
const FORGOTTEN_MS = 150_000;
const pages = new Map(); // port -> { query, topics, heard }
let address = "", source = null, soon = 0;

self.onconnect = ({ ports: [port] }) => { port.onmessage = ({ data }) => hear(port, data); };

function hear(port, said) {
  const page = pages.get(port);
  if (said.bye) {
    if (pages.delete(port)) reopenSoon();
  } else if (said.query !== undefined) {
    address = said.address;
    pages.set(port, { query: said.query, topics: new Set(topicsOf(said.query)), heard: Date.now() });
    reopenSoon(); // whoever comes gets the whole state first
  } else if (page) page.heard = Date.now();
}

function reopenSoon() { clearTimeout(soon); soon = setTimeout(reopen, TOGETHER_MS); }

function reopen() {
  if (source) source.close();
  source = null;
  if (!pages.size) return;
  const asked = new Set([...pages.values()].flatMap(page => page.query || "page=plain").flatMap(query => query.split("&")));
  source = open(`${address}?${[...asked].join("&")}`, tell);
}

function tell({ name, data, topic }) {
  if (name === "login") { source.close(); source = null; } // until a page comes that is signed in
  for (const [port, page] of pages) if (name !== "fragment" || page.topics.has(topic)) port.postMessage({ name, data });
}

setInterval(() => {
  for (const [port, page] of pages) if (Date.now() - page.heard > FORGOTTEN_MS) pages.delete(port);
  if (source && (isOver(source) || !pages.size)) reopen();
}, AGAIN_MS);
