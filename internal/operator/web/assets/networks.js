// The networks: a card for each, with its figures of the last ten minutes.
import { byID, make, setAttribute, setText } from "./dom.js";
import { Chart, bounds } from "./chart.js";
import { clock, count, long, milliseconds, plural, rate, size, unknown, visible } from "./format.js";

// samples is how many samples a network has, as many as the daemon remembers. At least fewest
// of them are drawn, even if the daemon has not run for so long.
const samples = 600, fewest = 60;
// shown is the highest number of cards. With more networks than that, people search for some.
const shown = 24;
// telling is the least rate, in bytes per second, that says something about what a network can
// carry. Below it there may be only background traffic.
const telling = 12500;
// mostChanges bounds the changes that are kept.
const mostChanges = 256;

export const keyOf = (p) => `${p.prefix}%${p.interface}`;

// nameOf returns the name of a network for people.
export const nameOf = (p) => visible(p.name ?? p.interface);

class Network {
  constructor(p) {
    this.prefix = p; // from /v1/prefixes, or from /v1/history if only that has it
    this.gone = false;
    this.rtt = new Float32Array(samples).fill(NaN);
    this.down = new Float32Array(samples).fill(NaN);
    this.up = new Float32Array(samples).fill(NaN);
    this.signal = new Float32Array(samples).fill(NaN);
    this.health = new Uint8Array(samples); // codes of the letters of History; 0: the network was not there
  }

  get name() { return nameOf(this.prefix); }

  shift(by) {
    for (const list of [this.rtt, this.down, this.up, this.signal, this.health]) {
      list.copyWithin(0, Math.min(by, samples));
      list.fill(list === this.health ? 0 : NaN, Math.max(0, samples - by));
    }
  }

  take(h, last) {
    const n = h.health.length;
    for (let i = 0; i < n; i++) {
      const at = samples - 1 - (last - (h.first + i));
      if (at < 0 || at >= samples) continue;
      this.rtt[at] = h.rtt_ms[i] ?? NaN;
      this.down[at] = h.down_bytes_per_second[i] ?? NaN;
      this.up[at] = h.up_bytes_per_second[i] ?? NaN;
      this.signal[at] = h.signal_dbm[i] ?? NaN;
      this.health[at] = h.health.charCodeAt(i);
    }
  }
}

// Networks holds all networks that are there, and those of the past that are remembered.
export class Networks {
  constructor() {
    this.reset();
    this.cards = new Map();
    this.visible = new IntersectionObserver((entries) => {
      for (const e of entries) {
        e.target.card.inSight = e.isIntersecting;
        if (e.isIntersecting) this.drawCard(e.target.card);
      }
    }, { rootMargin: "200px" });
    byID("networks-filter").addEventListener("input", () => this.draw());
  }

  // reset forgets everything, because a daemon that was started again counts from the beginning.
  reset() {
    this.byKey = new Map();
    this.order = null; // what is there; null: not told yet
    this.last = 0;
    this.lastTime = 0;
    this.changes = new Map(); // by seq
  }

  // takeHistory takes in an answer to /v1/history since the sample this.last, and returns the
  // changes that were not known yet.
  takeHistory(h) {
    const by = h.last - this.last;
    if (by > 0) for (const n of this.byKey.values()) n.shift(by);
    this.last = h.last;
    this.lastTime = Date.parse(h.last_time);
    const there = new Set();
    for (const p of h.prefixes) {
      const key = keyOf(p);
      there.add(key);
      let n = this.byKey.get(key);
      if (!n) this.byKey.set(key, n = new Network(p));
      n.gone = p.gone;
      n.take(p, h.last);
    }
    const fresh = h.changes.filter((c) => !this.changes.has(c.seq));
    for (const c of fresh) this.changes.set(c.seq, c);
    for (const seq of this.changes.keys()) {
      if (this.changes.size <= mostChanges) break;
      this.changes.delete(seq);
    }
    for (const key of [...this.byKey.keys()]) if (!there.has(key)) this.byKey.delete(key);
    return fresh;
  }

  // takePrefixes takes in an answer to /v1/prefixes.
  takePrefixes(answer) {
    this.order = answer.prefixes.map(keyOf);
    const there = new Set(this.order);
    for (const p of answer.prefixes) {
      const n = this.byKey.get(keyOf(p)) ?? new Network(p);
      this.byKey.set(keyOf(p), n);
      n.prefix = p;
      n.gone = false;
    }
    for (const [key, n] of this.byKey) if (!there.has(key)) n.gone = true;
  }

  // list returns the networks in the daemon's order, with those that have gone at the end.
  list() {
    const there = (this.order ?? []).map((k) => this.byKey.get(k)).filter((n) => n && !n.gone);
    return there.concat([...this.byKey.values()].filter((n) => n.gone));
  }

  // at returns what had been measured of a network at a time: round-trip time, load down and up,
  // the highest rate down in the minutes before, and whether the network was there. It is null if
  // the time is too long ago. A highest rate that says nothing is null. Later measurements are
  // left out, because they would compare a transfer with itself.
  at(n, time) {
    const from = samples - 1 - Math.ceil((this.lastTime - Date.parse(time)) / 1000);
    if (!(from >= 0)) return null;
    const i = Math.min(from, samples - 1);
    const before = (list) => {
      for (let j = i; j >= 0; j--) if (!isNaN(list[j])) return list[j];
      return null;
    };
    const most = bounds(n.down.subarray(0, i + 1))?.[1];
    // A network may have come within the second in which it was chosen.
    const health = n.health[i] || n.health[Math.min(i + 1, samples - 1)];
    return { rtt: before(n.rtt), down: before(n.down), up: before(n.up), most: most >= telling ? most : null, there: health !== 0, wasDown: health === "d".charCodeAt(0) };
  }

  // after returns what was measured of a network after a time: since when, the first round-trip
  // time and the highest rate down, each null if unknown. It is null if nothing was measured.
  // Connections that are over at once are not seen in the samples, but counted. With too, the
  // first sample after the time counts, which also holds what was just before it: a transfer that
  // begins at the time may be over by the next sample.
  after(n, time, too = false) {
    const from = Math.max(0, samples - Math.floor((this.lastTime - Date.parse(time)) / 1000) - (too ? 1 : 0));
    const i = n.rtt.findIndex((v, j) => j >= from && !isNaN(v)), k = n.down.findIndex((v, j) => j >= from && v >= telling);
    if (i < 0 && k < 0) return null;
    const first = i < 0 ? k : k < 0 ? i : Math.min(i, k);
    return { time: new Date(this.lastTime - (samples - 1 - first) * 1000).toISOString(), rtt: i < 0 ? null : n.rtt[i], most: k < 0 ? null : bounds(n.down.subarray(from))[1] };
  }

  // span returns how many samples are drawn.
  get span() { return Math.min(samples, Math.max(fewest, this.last)); }

  draw() {
    const all = this.list();
    const find = byID("networks-filter").value.toLowerCase();
    const found = all.filter((n) => find === "" || `${n.name} ${n.prefix.prefix} ${n.prefix.interface}`.toLowerCase().includes(find));
    byID("networks-find").hidden = all.length <= 8;
    const some = found.slice(0, shown);
    const cards = some.map((n) => this.cardOf(n));
    const keep = new Set(cards);
    for (const [key, c] of this.cards) {
      if (keep.has(c)) continue;
      this.visible.unobserve(c.element);
      this.cards.delete(key);
    }
    const place = byID("cards");
    const elements = cards.map((c) => c.element);
    if (elements.length !== place.children.length || elements.some((e, i) => place.children[i] !== e)) place.replaceChildren(...elements);
    this.slowest = Math.max(0, ...some.map((n) => bounds(n.rtt.subarray(samples - this.span))?.[1] ?? 0));
    setText(byID("networks-span"), some.length > 1 ? "round trips are drawn to one scale, loads to each network’s own" : "");
    for (const c of cards) this.drawCard(c);
    const more = byID("networks-more");
    more.hidden = all.length > 0 && found.length === some.length;
    setText(more, all.length === 0 ? "Mamma manages no network. Doctor, below, may tell why."
      : `${plural(found.length - some.length, "network")} more. Find shows those whose name has a text.`);
  }

  cardOf(n) {
    const key = keyOf(n.prefix);
    let c = this.cards.get(key);
    if (!c) {
      c = new Card();
      this.cards.set(key, c);
      this.visible.observe(c.element);
    }
    c.network = n;
    return c;
  }

  drawCard(c) {
    c.words(this.lastChange(c.network));
    if (c.inSight) c.draw(this.marksOf(c.network), this.span, this.slowest);
  }

  // marksOf returns the moments, in 0..1, at which a network came, went or changed its health.
  marksOf(n) {
    const key = keyOf(n.prefix), out = [];
    for (const c of this.changes.values()) {
      if (keyOf(c) !== key || c.change === "changed") continue;
      const at = 1 - (this.lastTime - Date.parse(c.time)) / 1000 / this.span;
      if (at > 0 && at <= 1) out.push(at);
    }
    return out;
  }

  // lastChange returns the latest change in which a network came, went or changed its health, or
  // undefined if none is remembered.
  lastChange(n) {
    const key = keyOf(n.prefix);
    return [...this.changes.values()].filter((c) => keyOf(c) === key && c.change !== "changed").at(-1);
  }
}

const stateWords = { up: "● up", suspect: "▲ suspect", down: "■ down", gone: "○ gone" };

class Card {
  constructor() {
    this.name = make("h3");
    this.where = make("p", { class: "where" });
    this.state = make("span", { class: "badge" });
    this.cost = make("span", { class: "badge plain" });
    this.reason = make("p", { class: "reason" });
    this.facts = make("p", { class: "facts" });
    this.rtt = new Figure("Round trip", ["rtt"]);
    this.load = new Figure("Load", ["down", "up"]);
    this.signal = new Figure("Signal", ["signal"]);
    this.began = make("span");
    this.axis = make("p", { class: "axis" }, this.began, make("span", {}, "now"));
    this.element = make("article", { class: "card" },
      make("div", { class: "title" }, this.name, make("span", { class: "badges" }, this.cost, this.state)),
      this.where, this.reason, this.rtt.element, this.load.element, this.signal.element, make("div", {}, this.axis, this.facts));
    this.element.card = this;
    this.inSight = false;
  }

  // words writes the texts of the card. change is the network's last change, if one is remembered.
  words(change) {
    const n = this.network, p = n.prefix;
    const state = n.gone ? "gone" : p.health?.state ?? "up";
    setText(this.name, n.name);
    setAttribute(this.element, "aria-label", n.name);
    setText(this.where, `${visible(p.prefix)}${p.name ? " on " + visible(p.interface) : ""}${p.default ? ", the default" : ""}`);
    setText(this.state, stateWords[state] ?? visible(state));
    setAttribute(this.state, "class", "badge " + (stateWords[state] ? state : "plain"));
    setText(this.cost, visible(p.cost ?? ""));
    this.cost.hidden = !p.cost;
    setAttribute(this.element, "class", n.gone ? "card gone" : "card");
    const at = n.gone ? change?.change === "removed" && change.time : p.health?.since, since = at ? ` since ${clock(at)}` : "";
    const reason = n.gone ? `Not there any more${since}. What it did stays for ten minutes.`
      : state !== "up" && (since || p.health?.reason) ? `${state[0].toUpperCase()}${visible(state.slice(1))}${since}${p.health?.reason ? `: ${visible(p.health.reason)}` : ""}` : "";
    setText(this.reason, reason);
    this.reason.hidden = reason === "";
    const facts = [];
    if (p.path?.connections !== null && p.path?.connections !== undefined) facts.push(plural(p.path.connections, "connection"));
    if (p.budget) facts.push(`${size(p.budget.used_bytes)} of ${size(p.budget.limit_bytes)} used`);
    for (const f of p.facts ?? []) if (["technology", "signal", "roaming", "connectivity"].includes(f.name)) facts.push(`${visible(f.name)} ${visible(f.value)}`);
    setText(this.facts, facts.join(" · "));
    this.facts.hidden = facts.length === 0;
    // What is measured now is the least of ten minutes if no connection lives; the line may know
    // of one that has just ended.
    const drawn = n.rtt[samples - 1];
    this.rtt.words(n.gone ? unknown : milliseconds(isNaN(drawn) ? p.path?.srtt_median_ms : drawn));
    this.load.words(...n.gone ? [unknown] : [`↓ ${rate(p.link?.down_average_bytes_per_second ?? p.link?.down_bytes_per_second)}`, `↑ ${rate(p.link?.up_bytes_per_second)}`]);
    this.signal.element.hidden = !bounds(n.signal);
    this.signal.words(p.wifi?.signal_dbm !== null && p.wifi?.signal_dbm !== undefined ? `${p.wifi.signal_dbm} dBm` : unknown);
  }

  // draw draws the lines of the last span seconds. slowest is the longest round-trip time of all
  // networks that are shown. It makes their lines comparable.
  draw(marks, span, slowest) {
    setText(this.began, `${long(span * 1000).replace(/\u00a00\u00a0s$/, "")} ago`);
    const latest = (list) => list.subarray(samples - span);
    const all = this.network;
    const n = { rtt: latest(all.rtt), down: latest(all.down), up: latest(all.up), signal: latest(all.signal) };
    const bad = stretches(latest(all.health), "d".charCodeAt(0));
    const r = bounds(n.rtt);
    this.rtt.draw([n.rtt], 0, slowest || 1, bad, marks,
      r ? `Round-trip time: least ${milliseconds(r[0])}, most ${milliseconds(r[1])}` : "Round-trip time: not known", r ? `most ${milliseconds(r[1])}` : "no connection yet");
    const l = bounds(n.down, n.up);
    this.load.draw([n.down, n.up], 0, l ? Math.max(l[1], telling) : 1, bad, marks,
      l ? `Load: at most ${rate(bounds(n.down)?.[1])} down, ${rate(bounds(n.up)?.[1])} up` : "Load: not known", l ? `most ${rate(l[1])}` : "not measured");
    const s = bounds(n.signal);
    if (s) this.signal.draw([n.signal], -95, -30, bad, marks, `Signal: ${s[0]} to ${s[1]} dBm`, `${s[0]} to ${s[1]} dBm`);
  }
}

// Figure is a chart with its name and its latest value.
class Figure {
  constructor(name, classes) {
    // Each line has its value. If there are several lines, a piece of the line stands before it.
    this.now = classes.map(() => make("b"));
    this.most = make("span", { class: "most" });
    this.chart = new Chart(classes);
    this.element = make("figure", {}, make("figcaption", {}, make("span", {}, name), this.now.map((e, i) => make("span", {}, classes.length > 1 ? make("i", { class: `key ${classes[i]}` }) : "", e)), this.most), this.chart.element);
  }

  words(...now) {
    this.now.forEach((e, i) => {
      setText(e, now[i] ?? "");
      e.parentElement.hidden = i >= now.length;
    });
  }

  draw(lists, low, high, bad, marks, label, most) {
    this.chart.draw(lists, low, high, label, bad, marks);
    setText(this.most, most);
  }
}

// stretches returns the runs of a code, from and to in 0..1.
function stretches(list, code) {
  const out = [];
  for (let i = 0; i < list.length; i++) {
    if (list[i] !== code) continue;
    const from = i;
    while (i < list.length && list[i] === code) i++;
    out.push([from / list.length, i / list.length]);
  }
  return out;
}

// tellChange tells what happened to a network.
export function tellChange(c) {
  const name = nameOf(c);
  switch (c.change) {
    case "added": return `${name} came: ${c.health}, ${c.cost}`;
    case "removed": return `${name} has gone`;
    case "health": return `${name} is ${c.health}${c.reason ? ": " + visible(c.reason) : ""}`;
    case "changed": return `${name} has changed: ${(c.differs ?? ["cost"]).map((d) => d === "cost" ? c.cost : visible(d)).join(", ")}`;
  }
  return `${name}: ${visible(c.change)}`;
}

export { clock, count, long };
