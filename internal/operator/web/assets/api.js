// Requests to mammactl's server, which asks the daemon.

// The token stands after the "#" of the link. The tab keeps it, so that the page can be loaded
// again, and the address line loses it.
const kept = "mamma-token";

function findToken() {
  const given = /^#([A-Z2-7]{16,64})$/.exec(location.hash);
  if (given) {
    sessionStorage.setItem(kept, given[1]);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(kept) ?? "";
}

const token = findToken();

// Failure is thrown if there is no answer. Its code is "absent" if no daemon answers, and
// "ended" if mammactl does not answer either.
export class Failure extends Error {
  constructor(code, text) {
    super(text);
    this.code = code;
  }
}

async function send(path, options = {}) {
  let response;
  try {
    response = await fetch("/api/" + path, { ...options, headers: { Authorization: "Bearer " + token, ...options.headers }, cache: "no-store", redirect: "error" });
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new Failure("ended", "mammactl web has ended. Start it again, and open the link that it prints.");
  }
  if (response.ok) return response;
  let failure = {};
  try {
    failure = await response.json();
  } catch { /* it says nothing */ }
  throw new Failure(failure.code ?? "internal", failure.error ?? `The server answers ${response.status}.`);
}

export async function get(path) {
  return (await send(path)).json();
}

export async function post(path, body = {}) {
  return (await send(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } })).json();
}

// A line that is longer than this cannot be an event.
const longestLine = 4 << 20;
// The server sends an empty line after 5 s without events.
const silence = 20000;

// follow calls each for every event after the decision with the number since, until the stream
// ends or the signal comes. If the daemon is not the one that was started at the time started,
// follow throws a Failure with the code "restarted".
export async function follow(started, since, each, signal) {
  const stop = new AbortController();
  signal.addEventListener("abort", () => stop.abort(), { signal: stop.signal });
  let timer = setTimeout(() => stop.abort(), silence);
  try {
    const response = await send(`events?since=${since}&started=${encodeURIComponent(started)}`, { signal: stop.signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => stop.abort(), silence);
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      if (rest.length > longestLine) throw new Failure("internal", "The server sends a line without an end.");
      for (const line of lines) if (line !== "") each(JSON.parse(line));
    }
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
}
