// The panels below the decisions: budgets, programs, Multipath TCP, doctor, changes.
import { get, post } from "./api.js";
import { byID, copyButton, make, replace, say, setText, tableOf } from "./dom.js";
import { count, date, milliseconds, plural, size, unknown, visible } from "./format.js";
import { callerOf, describe, networkWords, reasonOf, tookWords } from "./detail.js";
import { drawScopes } from "./scopes.js";

export function drawBudgets(networks) {
  const seen = new Set();
  const list = networks.list().filter((n) => !n.gone && n.prefix.budget && !seen.has(n.prefix.interface) && seen.add(n.prefix.interface));
  replace("budgets-list", list.length === 0 ? make("p", { class: "note" }, "No network has a budget. One is set in the configuration: budget = \"5 GB\".")
    : list.map((n) => {
      const b = n.prefix.budget, part = b.limit_bytes > 0 ? b.used_bytes / b.limit_bytes : 1;
      return make("div", { class: "budget" },
        make("p", {}, make("b", {}, n.name), ` ${size(b.used_bytes)} of ${size(b.limit_bytes)}, ${(part * 100).toFixed(0)}\u00a0%; begins anew ${date(b.reset)}`,
          b.exceeded ? make("span", { class: "badge down" }, "used up: expensive") : ""),
        make("meter", { min: 0, max: 1, low: 0.8, high: 0.95, optimum: 0, value: Math.min(part, 1), "aria-label": `Budget of ${n.name}` }));
    }));
}

// most bounds the programs that are listed.
const most = 50;

export function drawPrograms(entries, runs) {
  const programs = new Map();
  for (const { decision: d } of entries) {
    if (!d) continue;
    const who = callerOf({ app: { command: d.app.command }, origin: d.origin && { command: d.origin.command } });
    const p = programs.get(who) ?? { who, n: 0, by: new Map() };
    programs.set(who, p);
    p.n += 1 + d.leased;
    p.by.set(networkWords(d), (p.by.get(networkWords(d)) ?? 0) + 1 + d.leased);
  }
  const rows = [...programs.values()].sort((a, b) => b.n - a.n).slice(0, most)
    .map((p) => [p.who, count(p.n), [...p.by].sort((a, b) => b[1] - a[1]).slice(0, 4).map(([name, n]) => `${name} ${count(n)}`).join(", ")]);
  replace("programs-list",
    rows.length === 0 ? make("p", { class: "note" }, "No program has asked yet.") : tableOf("Programs by connections", ["Program", "Connections", "Networks"], rows, { numbers: [1] }),
    make("h3", {}, "Under “mammactl run” now"),
    runs.length === 0 ? make("p", { class: "note" }, "None of yours. “mammactl run --intents category=bulktransfer -- PROGRAM” places what an unchanged program connects.")
      : tableOf("Programs under mammactl run", ["Program", "Process", "Options"], runs.map((r) => [visible(r.program.join(" ")), String(r.pid), visible(r.options.join(" "))]), { numbers: [1] }));
}

export function drawMultipath(m) {
  if (m.failure) {
    replace("multipath-list", make("p", { class: "note" }, visible(m.failure)));
    return;
  }
  const rows = [];
  for (const c of m.connections) {
    const name = c.host ? `${visible(c.host)} (${visible(c.remote)})` : visible(c.remote);
    rows.push([make("b", {}, name), c.fallback ? "plain TCP" : plural(c.subflows.length, "subflow"), `↓ ${size(c.received_bytes)} ↑ ${size(c.sent_bytes)}`, ""]);
    for (const f of c.subflows) {
      const state = [f.first ? "first" : "", f.backup ? "backup" : "", !f.established && !c.fallback ? "being opened" : ""].filter((x) => x).join(", ");
      rows.push([`↳ ${visible(f.interface ?? unknown)} from ${visible(f.local)}`, state || "up", `↓ ${size(f.received_bytes)} ↑ ${size(f.sent_bytes)}`, milliseconds(f.rtt_ms)]);
    }
  }
  const n = m.counters;
  replace("multipath-list",
    rows.length === 0 ? make("p", { class: "note" }, "No connection uses it.") : tableOf("Connections of Multipath TCP and their subflows", ["Connection", "State", "Bytes", "Round trip"], rows, { numbers: [3] }),
    make("p", { class: "hint" }, `Path manager: ${visible(m.path_manager ?? unknown)}, ${m.managed ? "managed by mamma" : "not managed by mamma"}. Since the host began: ${count(n.opened)} opened, ${count(n.accepted)} accepted, ${count(n.joins_sent)} subflows asked for, ${count(n.no_peer)} with a peer that has no Multipath TCP.`,
      m.complete ? "" : " Only your own connections are shown."));
}

const severities = { problem: "■ problem", warning: "▲ warning", note: "● note" };

export function prepareDoctor() {
  byID("doctor-run").addEventListener("click", async () => {
    const button = byID("doctor-run");
    button.disabled = true;
    byID("doctor-list").replaceChildren(make("p", { class: "note" }, "Gateways and name servers are asked; that can take some seconds."));
    try {
      const report = await post("doctor");
      drawReport(report);
      say(`The checks are made: ${plural((report.findings ?? []).length, "finding")}.`);
    } catch (e) {
      byID("doctor-list").replaceChildren(make("p", { class: "note bad" }, visible(e.message)));
      say(visible(e.message));
    }
    button.disabled = false;
    setText(button, "Check again");
  });
}

export function drawReport(report) {
  byID("doctor-list").replaceChildren(
    make("p", {}, `${plural(report.passed, "check")} passed, ${plural((report.findings ?? []).length, "finding")}.`),
    ...(report.findings ?? []).map((f) => {
      const kind = f.severity === "problem" ? "down" : f.severity === "warning" ? "suspect" : "up";
      return make("article", { class: "finding", "aria-label": visible(f.subject) },
        make("h3", {}, make("span", { class: "badge " + kind }, severities[f.severity] ?? visible(f.severity)), " ", visible(f.subject)),
        make("p", {}, visible(f.text)),
        f.evidence ? make("p", { class: "hint" }, `Seen: ${visible(f.evidence)}`) : null,
        f.copes ? make("p", { class: "hint" }, `Mamma copes: ${visible(f.copes)}`) : null,
        (f.fix ?? []).map((fix, i) => [i > 0 ? make("p", { class: "hint" }, "or") : null, make("div", { class: "command" }, make("code", {}, fix), copyButton(fix))]),
        f.lasts ? make("p", { class: "hint" }, `To make it last: ${visible(f.lasts)}`) : null);
    }));
}

// prepareAsk makes the form send its question to the daemon, and shows the answer.
export function prepareAsk(networks) {
  byID("ask-form").addEventListener("submit", async (e) => {
    e.preventDefault();
    const intents = {};
    if (byID("ask-category").value) intents.category = byID("ask-category").value;
    if (byID("ask-size").value) intents.filesize = Number(byID("ask-size").value);
    const question = { host: byID("ask-host").value.trim(), service: byID("ask-port").value.trim(), intents };
    try {
      const answer = await post("explain", question);
      byID("ask-answer").replaceChildren(describe(answer.decision, networks));
      say(`Would take ${tookWords(answer.decision)}: ${reasonOf(answer.decision)}`);
    } catch (failure) {
      byID("ask-answer").replaceChildren(make("p", { class: "note bad" }, visible(failure.message)));
      say(visible(failure.message));
    }
  });
}

export function prepareChanges(allowed) {
  for (const id of ["changes", "changes-link"]) byID(id).hidden = !allowed;
  if (!allowed) return;
  const change = async (path, body, done) => {
    try {
      await post(path, body);
      setText(byID("changes-answer"), done);
    } catch (e) {
      setText(byID("changes-answer"), visible(e.message));
    }
  };
  byID("set-form").addEventListener("submit", (e) => {
    e.preventDefault();
    change("set", { text: byID("set-text").value }, "The policy accepts it.");
  });
  byID("reload").addEventListener("click", () => change("reload", {}, "The configuration was read again."));
}

// lookAt asks for what the panels show, and draws it. It is called seldom, and only while the
// panels can be seen.
export async function lookAt(networks, entries) {
  drawBudgets(networks);
  const [runs, multipath, scopes] = await Promise.all([get("runs").catch(() => ({ runs: [] })), ...["mptcp", "scopes"].map((path) => get(path).catch((e) => ({ failure: e.message })))]);
  drawPrograms(entries, runs.runs);
  drawScopes(scopes);
  drawMultipath(multipath);
}
