// One decision: which network was chosen, why, what the others would have cost, and how it went.
import { make, tableOf } from "./dom.js";
import { clock, long, milliseconds, plural, rate, size, term, unknown, visible } from "./format.js";
import { keyOf, nameOf, tellChange } from "./networks.js";

// callerOf names the program that connects, and the program that asked for it if that is another one.
export function callerOf(d) {
  const name = (a) => visible(a?.command ?? unknown) + (a?.pid ? ` [${a.pid}]` : "");
  const own = name(d.app);
  return d.origin && (d.origin.command || d.origin.pid) ? `${name(d.origin)} via ${visible(d.app.command ?? unknown)}` : own;
}

export function destinationOf(d) {
  if (d.remote) return visible(d.remote);
  if (!d.host) return unknown;
  const host = visible(d.host);
  return d.service ? `${host.includes(":") ? `[${host}]` : host}:${visible(d.service)}` : host;
}

export function intentsOf(d) {
  const out = [];
  for (const [name, value] of Object.entries(d.intents ?? {})) {
    if (value !== null) out.push(name === "filesize" ? size(value) : name === "category" ? visible(value) : `${visible(name)} ${visible(value)}`);
  }
  return out.join(", ");
}

// tookOf returns the network over which the connection came up, or was to come up. It is null
// if the kernel or the program itself chose.
export function tookOf(d) {
  if (d.bound) return null;
  const o = d.outcome;
  if (o && o.errno === 0 && o.candidate > 0) return d.alternates[o.candidate - 1] ?? d.chosen;
  if (o && o.errno === 0 && o.candidate < 0) return null;
  return d.chosen;
}

export function networkWords(d) {
  if (d.refused) return "refused";
  if (d.bound) return "as the program bound it";
  const took = tookOf(d);
  if (!took) return d.outcome?.candidate < 0 ? "left to the kernel" : "no preference";
  return took === d.chosen ? nameOf(took) : `${nameOf(took)}, not ${nameOf(d.chosen)}`;
}

// tookWords makes the words that follow "took" or "would take".
export function tookWords(d) {
  if (d.refused) return "no network: the connection is refused";
  if (d.bound) return `what the program had bound it to, ${visible(d.bound)}`;
  const took = tookOf(d);
  if (took) return nameOf(took);
  return d.outcome?.candidate < 0 && d.chosen ? `what the kernel chooses, not ${nameOf(d.chosen)}` : "what the kernel chooses: there was no preference";
}

export function reasonOf(d) {
  if (d.fallback && !d.refused) return `the default, as the policy was not followed: ${visible(d.fallback)}`;
  return visible(d.reason || "no reason given");
}

// upIn tells how long a connection took to come up. Programs report whole milliseconds.
const upIn = (o) => (o.took_ms < 1 ? "less than 1\u00a0ms" : milliseconds(o.took_ms));

// sources names in words those who state the intents of a connection.
const sources = { run: "“mammactl run”", client: "the program, to the proxy" };

// outcomeOf tells how the connection went.
export function outcomeOf(d) {
  const o = d.outcome, parts = [];
  const took = o && upIn(o);
  if (o) {
    const by = o.candidate === 0 ? d.chosen : d.alternates[o.candidate - 1];
    // A program that has bound its socket does not follow the suggestion.
    const over = d.bound ? ` from ${visible(d.bound)}, as the program had bound it,` : by ? ` over ${nameOf(by)}` : "";
    if (o.errno !== 0) parts.push(`The connection${over} failed after ${took}: ${visible(o.error ?? `error ${o.errno}`)}.`);
    else if (d.bound) parts.push(`It was connected${over} in ${took}.`);
    else if (o.candidate > 0 && d.chosen) parts.push(`${nameOf(d.chosen)} did not work out: it was connected${over} instead, after ${took}.`);
    else if (o.candidate < 0) parts.push(`It was connected without the suggestion, after ${took}.`);
    else parts.push(`It was connected${over} in ${took}.`);
    if (o.plain_tcp) parts.push("Multipath TCP became plain TCP.");
  } else if (d.seq !== 0 && !d.refused) {
    parts.push("The program has not told how it went.");
  }
  if (d.leased > 0) parts.push(`${plural(d.leased, "more connection")} followed the same decision.`);
  if (d.reused) parts.push("An idle connection was used again.");
  return parts.join(" ");
}

// candidatesOf returns the networks that were there, with what the policy and the daemon knew
// about each. Those from which the policy could choose come first.
function candidatesOf(d, networks) {
  const list = new Map();
  const add = (p, offered) => {
    if (p && !list.has(keyOf(p))) list.set(keyOf(p), { ref: p, offered });
  };
  add(d.chosen, true);
  d.alternates.forEach((p) => add(p, true));
  d.scores.forEach((s) => add(s, true));
  for (const n of networks.list()) if (d.seq === 0 ? !n.gone : networks.at(n, d.time)?.there) add(n.prefix, false);
  const took = tookOf(d);
  return [...list.values()].map((c) => {
    const network = networks.byKey.get(keyOf(c.ref));
    return {
      ...c, network, name: network ? network.name : nameOf(c.ref),
      taken: !!took && keyOf(took) === keyOf(c.ref), score: d.scores.find((s) => keyOf(s) === keyOf(c.ref)),
      then: network ? networks.at(network, d.seq === 0 ? new Date(networks.lastTime) : d.time) : null, cost: network?.prefix.cost, budget: network?.prefix.budget,
    };
  });
}

// predicted returns how long a transfer would take. The policy may say so. If it does not, and
// the size was stated, the time is a guess: four round trips, and the highest rate that was seen.
function predicted(c, d) {
  if (c.score && c.score.predicted_ms !== null) return { ms: c.score.predicted_ms, guess: false };
  const bytes = d.intents?.filesize;
  if (bytes > 0 && c.then?.rtt && c.then?.most > 0) return { ms: 4 * c.then.rtt + bytes / c.then.most * 1000, guess: true };
  return null;
}

// cameUp tells how long a connection over a network took to come up. Of all such connections it
// takes the one whose decision is nearest in time to d. It returns "" if there is none.
function cameUp(c, d, entries) {
  let best = null;
  const away = (e) => Math.abs(Date.parse(e.time) - Date.parse(d.time));
  for (const { decision: e } of entries) {
    // If other candidates were tried before, the time includes theirs.
    if (!e || e.seq === d.seq || e.bound || e.reused || e.outcome?.errno !== 0 || e.outcome.candidate !== 0 || !e.chosen) continue;
    if (keyOf(e.chosen) === keyOf(c.ref) && (!best || away(e) < away(best))) best = e;
  }
  return best ? `at ${clock(best.time)} ${programOf(best)} was connected over it to ${destinationOf(best)} in ${upIn(best.outcome)}` : "";
}

// measuredSince is about a network over which nothing was measured when a decision was made. It
// tells what is known by now: what was measured later, how long a connection took to come up, or
// what the kernel has counted.
function measuredSince(c, taken, d, networks, entries) {
  const later = c.network && networks.after(c.network, d.time), up = cameUp(c, d, entries);
  if (!later) {
    const l = c.network?.prefix.link, bytes = l ? (l.down_bytes ?? 0) + (l.up_bytes ?? 0) : null;
    return [`how long it would take is not known: not measured yet, as mamma has seen no ${up ? "transfer over it that lasted long enough" : "connection over it"}`,
      up || bytes === null ? up : bytes === 0 ? "the kernel has counted nothing over it" : `the kernel has counted ${size(bytes)} over it in all`];
  }
  const parts = [`not measured when it was decided, but since ${clock(later.time)}`];
  const its = taken?.network && networks.after(taken.network, d.time, true);
  if (later.rtt) parts.push(`round trips of ${milliseconds(later.rtt)}${its?.rtt ? `, over ${taken.name} ${milliseconds(its.rtt)}` : ""}`);
  if (later.most) parts.push(`up to ${rate(later.most)} seen over it${its?.most ? `, over ${taken.name} up to ${rate(its.most)}` : ""}`);
  const bytes = d.intents?.filesize;
  if (bytes > 0 && later.most) parts.push(`at that rate ${size(bytes)} take ${milliseconds(4 * (later.rtt ?? 0) + bytes / later.most * 1000)} at most`);
  return [parts[0] + ": " + parts.slice(1).join(", and "), later.rtt ? "" : up];
}

// compare tells what another network would have cost, compared with the chosen one.
function compare(c, taken, d, networks, entries) {
  const parts = [];
  const mine = predicted(c, d), its = taken ? predicted(taken, d) : null;
  if (mine && !mine.guess && its && !its.guess) {
    const more = mine.ms - its.ms;
    const words = Math.abs(more) < 0.005 * its.ms ? "as long" : `${milliseconds(Math.abs(more))} ${more > 0 ? "longer" : "less"}`;
    parts.push(`predicted to take ${milliseconds(mine.ms)}, ${words}`);
  } else if (mine && !mine.guess) {
    parts.push(`predicted to take ${milliseconds(mine.ms)}`);
  } else if (mine) {
    // The network may be faster than its highest rate so far.
    parts.push(`at most ${milliseconds(mine.ms)} at the highest rate seen over it, ${rate(c.then.most)}${its ? `, where ${taken.name} takes at most ${milliseconds(its.ms)}` : ""}`);
  } else if (c.then?.rtt && !taken?.then?.rtt) {
    parts.push(`round trips of ${milliseconds(c.then.rtt)}${taken ? `; over ${taken.name} nothing had been measured` : ""}`);
  } else if (c.then?.rtt) {
    const more = c.then.rtt - taken.then.rtt;
    parts.push(Math.abs(more) < 0.05 ? "round trips as long" : `each round trip ${milliseconds(Math.abs(more))} ${more > 0 ? "longer" : "shorter"}`);
    if (c.then.most && taken.then.most) parts.push(`up to ${rate(c.then.most)} seen, over ${taken.name} ${rate(taken.then.most)}`);
  } else {
    parts.push(...measuredSince(c, taken, d, networks, entries).filter((p) => p));
  }
  if (c.cost && c.cost !== "free") parts.push(c.budget ? `it is ${c.cost}, ${size(Math.max(0, c.budget.limit_bytes - c.budget.used_bytes))} left` : `it is ${c.cost}`);
  else if (c.cost && taken?.cost) parts.push(taken.cost === "free" ? `it is free, as ${taken.name} is` : `it is free, where ${taken.name} is ${visible(taken.cost)}`);
  if (c.then?.wasDown) parts.push("it was down");
  if (!c.offered) parts.push("the policy was not offered it");
  return parts.join("; ");
}

// describe makes the description of a decision.
export function describe(d, networks, entries = []) {
  const candidates = candidatesOf(d, networks);
  const taken = candidates.find((c) => c.taken);
  const row = (name, ...children) => [make("dt", {}, name), make("dd", {}, ...children)];
  const list = make("dl", { class: "answers" });
  const ref = tookOf(d);
  const asked = d.seq === 0;
  if (ref && !d.refused) list.append(...row(asked ? "Would take" : "Took", make("b", {}, nameOf(ref)), ` (${visible(ref.prefix)} on ${visible(ref.interface)}${ref.address ? ", from " + visible(ref.address) : ""})`));
  else list.append(...row(asked ? "Would take" : "Took", `${tookWords(d)}.`));
  const said = intentsOf(d);
  list.append(...row("Why", `${d.policy ? `policy ${visible(d.policy)}` : "no policy"}: ${reasonOf(d)}.`,
    said ? ` Stated of it: ${said}${d.origin?.source ? `, by ${sources[d.origin.source] ?? visible(d.origin.source)}` : ""}.` : " Nothing was stated of it.",
    d.selection ? ` The program asks to ${visible(d.selection)}.` : ""));
  const others = candidates.filter((c) => !c.taken);
  if (others.length > 0 && !d.refused) {
    list.append(...row(others.length === 1 ? "The other" : "The others",
      make("ul", {}, others.map((c) => make("li", {}, make("b", {}, c.name), `: ${compare(c, taken, d, networks, entries)}.`)))));
  }
  const went = outcomeOf(d);
  if (went) list.append(...row("How it went", went));
  const later = since(d, candidates, networks).map((c) => [c.time, tellChange(c)]);
  const next = nextAlike(d, networks, entries);
  if (next) later.push([next.time, `The next connection of ${programOf(next)} to ${destinationOf(next)} took ${tookWords(next)}: ${reasonOf(next)}`]);
  later.sort((a, b) => Date.parse(a[0]) - Date.parse(b[0]));
  if (later.length > 0) list.append(...row("Since then", make("ul", {}, later.map(([time, text]) => make("li", {}, make("time", { dateTime: time }, clock(time)), ` ${text}.`)))));
  if (d.time && !asked) list.append(...row("Decided", `in ${milliseconds(d.took_ms)}, as number ${d.seq}, for ${callerOf(d)} of user ${d.app.uid}.`));
  return make("div", { class: "detail" }, list, table(candidates, d));
}

// since returns the changes of a decision's networks that came after the decision.
function since(d, candidates, networks) {
  if (d.seq === 0) return [];
  const keys = new Set(candidates.map((c) => keyOf(c.ref)));
  const begun = Date.parse(d.time);
  return [...networks.changes.values()].filter((c) => c.change !== "changed" && keys.has(keyOf(c)) && Date.parse(c.time) >= begun).slice(0, 8);
}

const programOf = (d) => visible(d.origin?.command ?? d.app.command ?? unknown);

// nextAlike returns the first decision for the same program and destination after the network
// of decision d had gone or was down. It is undefined if there is none.
function nextAlike(d, networks, entries) {
  const took = tookOf(d);
  if (!took || d.seq === 0) return undefined;
  const lost = [...networks.changes.values()].find((c) => keyOf(c) === keyOf(took) && Date.parse(c.time) >= Date.parse(d.time) && (c.change === "removed" || c.health === "down"));
  if (!lost) return undefined;
  return entries.find(({ decision: e }) => e && e.seq > d.seq && Date.parse(e.time) >= Date.parse(lost.time)
    && programOf(e) === programOf(d) && destinationOf(e) === destinationOf(d))?.decision;
}

// table makes the table of the figures that the policy compared and that were measured then.
function table(candidates, d) {
  if (candidates.length === 0) return null;
  const terms = [...new Set(d.scores.flatMap((s) => s.terms.map((t) => t.name)))];
  const any = (f) => candidates.some((c) => f(c) !== null && f(c) !== undefined);
  const columns = [["Network", (c) => make("span", {}, make("b", {}, c.name), c.taken ? make("span", { class: "nowrap" }, d.seq === 0 ? " ← would be taken" : " ← taken") : "")]];
  if (any((c) => predicted(c, d))) columns.push([candidates.some((c) => c.score) ? "Predicted" : "At most", (c) => milliseconds(predicted(c, d)?.ms)]);
  for (const name of terms) {
    columns.push([visible(name), (c) => {
      const t = c.score?.terms.find((t) => t.name === name);
      return term(t) + (t && t.age_ms !== null && t.age_ms > 2000 ? ` (${long(t.age_ms)} old)` : "");
    }]);
  }
  if (!terms.includes("rtt")) columns.push(["Round trip then", (c) => milliseconds(c.then?.rtt)]);
  columns.push(["Load then", (c) => (c.then ? rate(c.then.down) : unknown)], ["Most seen", (c) => rate(c.then?.most)], ["Cost", (c) => visible(c.cost ?? unknown)]);
  if (any((c) => c.score?.note)) columns.push(["Note", (c) => visible(c.score?.note ?? "")]);
  return tableOf(d.scores.length ? "What the policy compared, and what was measured at the time" : "What was measured at the time; the policy compared no figures",
    columns.map(([head]) => head), candidates.map((c) => columns.map(([, f]) => f(c))),
    { seen: true, classes: "stack figures", numbers: columns.map((_, i) => i).filter((i) => !["Network", "Cost", "Note"].includes(columns[i][0])), classOf: (n) => (candidates[n].taken ? "taken" : null) });
}
