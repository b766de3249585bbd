// Keeps the page up to date with the daemon.
import { follow, get } from "./api.js";
import { amend, byID, make, setText } from "./dom.js";
import { count, long, milliseconds, visible } from "./format.js";
import { Networks } from "./networks.js";
import { Decisions } from "./decisions.js";
import { lookAt, prepareAsk, prepareChanges, prepareDoctor } from "./panels.js";

// The times between two requests, in ms: for networks, for what changes more slowly, and while
// the page is hidden.
const often = 1000, seldom = 5000, hidden = 10000;
// How many decisions before the latest may still get their outcome. The daemon tells outcomes
// only of decisions that it has sent in the same stream.
const awaited = 64;

const networks = new Networks();
const decisions = new Decisions(networks);
let started = null; // when the daemon that is shown was started; null: there is none yet
let following = new AbortController(); // ends the stream of that daemon's events

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function trouble(text) {
  const e = byID("trouble");
  e.hidden = text === "";
  setText(e, visible(text.charAt(0).toUpperCase() + text.slice(1)));
  document.body.classList.toggle("away", text !== "");
}

function fail(e) {
  if (e.name === "AbortError" || e.code === "restarted") return; // renew finds out why
  if (e.code === undefined) console.error(e);
  trouble(e.code === "absent" ? `${e.message}. The page waits for it.` : e.message);
}

function summarise(s) {
  const d = s.decisions;
  // A narrow window leaves out the others.
  const part = (text) => make("span", {}, text), other = (text) => make("span", { class: "more" }, text);
  const parts = [part(s.policy.name ? `policy ${visible(s.policy.name)}${s.policy.in_service ? "" : ", out of service"}` : "no policy"), part(`${count(d.per_minute)} decisions/min`)];
  if (!s.rights.read_all) parts.push(part("only decisions on your own requests"));
  if (d.took_p99_ms !== null) parts.push(other(`99\u00a0% took at most ${milliseconds(d.took_p99_ms)}`));
  parts.push(other(`up ${long(s.uptime_ms)}`), other(`version ${visible(s.version)}`));
  parts.slice(1).forEach((e) => e.prepend(" · "));
  amend(byID("summary"), make("p", { id: "summary" }, parts));
}

// renew asks for the present state, and finds out whether the daemon is still the same.
async function renew() {
  const status = await get("status");
  if (status.started !== started) {
    // A stream may have begun with the decision numbers of the previous daemon.
    started = null;
    following.abort();
    following = new AbortController();
    networks.reset();
    decisions.reset();
    await begin();
    started = status.started;
  }
  summarise(status);
  const [history, prefixes] = await Promise.all([networks.forgetful ? null : past(), get("prefixes")]);
  remember(history);
  networks.takePrefixes(prefixes);
  networks.draw();
  decisions.choices();
  trouble("");
}

// past asks for the new samples. Older versions of the daemon have none.
async function past() {
  try {
    return await get(`history?since=${networks.last}`);
  } catch (e) {
    if (e.code !== "not_found" && e.code !== "unsupported") throw e;
    networks.forgetful = true;
    return null;
  }
}

// remember takes over the result of past.
function remember(history) {
  if (history) for (const c of networks.takeHistory(history)) decisions.happened(c);
}

// begin asks for the decisions and changes of the past.
async function begin() {
  const history = await past();
  const answer = await get("decisions?limit=1000");
  for (const d of answer.decisions) decisions.add({ time: d.time, decision: d });
  decisions.last = Math.max(decisions.last, answer.last);
  remember(history);
}

async function keepLooking() {
  for (;;) {
    try {
      await renew();
    } catch (e) {
      fail(e);
    }
    await Promise.race([sleep(document.hidden ? hidden : often), new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }))]);
  }
}

async function keepFollowing() {
  for (;;) {
    if (started !== null) {
      try {
        const signal = following.signal;
        await follow(started, Math.max(0, decisions.last - awaited), (e) => signal.aborted || decisions.take(e), signal);
      } catch (e) {
        fail(e);
      }
    }
    await sleep(often / 2);
  }
}

async function keepGlancing() {
  for (;;) {
    // Before, the panels would tell of no networks.
    const known = started !== null && networks.order !== null;
    if (known && !document.hidden) await lookAt(networks, decisions.all).catch(fail);
    await sleep(known ? seldom : often / 2);
  }
}

async function prepare() {
  prepareAsk(networks);
  prepareDoctor();
  for (;;) {
    try {
      const page = await get("page");
      prepareChanges(page.allow_changes);
      byID("doctor").hidden = !page.doctor;
      return;
    } catch (e) {
      fail(e);
      if (e.code === "forbidden") return; // the link has no token, so nothing will ever come
    }
    await sleep(seldom);
  }
}

document.addEventListener("keydown", (e) => {
  if (e.key === "Escape" && decisions.open) decisions.toggle(decisions.open);
  if (e.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "")) {
    e.preventDefault();
    byID("filter-program").focus();
  }
});

prepare();
keepLooking();
keepFollowing();
keepGlancing();
