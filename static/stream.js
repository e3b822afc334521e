// The server's stream of events, and whose its fragments are. For pages, for walls, and for the worker that tabs share.

const EVENTS = ["fragment", "tick", "login", "revoked"];

/** The topics that a page's query asks for, by the names that the server gives their fragments. */
export function topicsOf(query) {
  const asked = new URLSearchParams(query), of = (name, word) => asked.getAll(name).map(word);
  const pages = [...of("page", page => page === "board" || page === "drills" ? page : "plain"), ...of("panic", pk => `panic-${pk}`), ...of("account", pk => `account-${pk}`), ...of("drill", pk => `drill-${pk}`), ...of("desk", pk => `desk-${pk}`)];
  return [...(pages.length ? pages : ["plain"]), ...of("sweep", pk => `orders-${pk}`), ...of("all", pk => `orders-${pk}-full`)];
}

/** Open a stream; `hear` is told of every event. A browser tries again by itself, but not after a refusal: see `isOver`. */
export function open(address, hear) {
  const source = new EventSource(address);
  for (const name of EVENTS) source.addEventListener(name, e => hear({ name, data: e.data, topic: e.lastEventId }));
  return source;
}

export const isOver = source => source.readyState === EventSource.CLOSED;
