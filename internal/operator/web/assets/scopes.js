// The scopes: whose connections are placed without asking, and what became of them.
import { make, replace, tableOf } from "./dom.js";
import { count, plural, unknown, visible } from "./format.js";
import { nameOf } from "./networks.js";

// matchedBy says by what a scope selects connections.
function matchedBy(s) {
  const parts = [["unit", s.units], ["slice", s.slices], ["cgroup", s.cgroups], ["user", s.users], ["command", s.commands]]
    .filter(([, list]) => list?.length > 0).map(([name, list]) => `${name} ${list.map(visible).join(", ")}`);
  return parts.join("; ") || "all that no other scope is about";
}

// groupsOf lists some of the control groups that a scope has found, and how many more there are.
function groupsOf(s) {
  const n = s.groups?.length ?? 0;
  if (n === 0) return "none yet";
  return s.groups.slice(0, 2).map(visible).join(", ") + (n > 2 ? ` and ${count(n - 2)} more` : "");
}

// usualOf says what a scope does with most streams. If both families do the same, it says so once.
function usualOf(s) {
  const words = (u) => (u.kind === "refuse" ? "refused" : u.chosen ? nameOf(u.chosen) : "left to the kernel");
  const list = (s.usual ?? []).filter((u) => u.transport === "stream");
  if (new Set(list.map(words)).size <= 1) return list.length > 0 ? words(list[0]) : unknown;
  return list.map((u) => `${visible(u.family)} ${words(u)}`).join(", ");
}

// networkOf says over which network a scope's connections go: most of them, and those that rules or
// ports tell apart. It also says for how many destinations that follows from what was learnt.
function networkOf(s) {
  const more = (s.variants ?? []).map((v) => `${visible(v.source)}: ${usualOf(v)}`);
  if (s.learning) more.push(`learnt for ${plural(s.learnt, "destination")}`);
  if (more.length === 0) return usualOf(s);
  return make("div", {}, usualOf(s), make("ul", { class: "apart" }, more.map((text) => make("li", {}, text))));
}

export function drawScopes(m) {
  if (m.failure) {
    replace("scopes-list", make("p", { class: "note" }, visible(m.failure)));
    return;
  }
  if (m.scopes.length === 0) {
    replace("scopes-list", make("p", { class: "note" }, "No scope is configured. One places the connections of a service that knows nothing of mamma. In the configuration file:"),
      make("p", { class: "command" }, make("code", {}, "scope \"backup\" {\n  unit    = \"backup.service\"\n  intents = \"category=bulktransfer\"\n}")),
      make("p", { class: "hint" }, "mamma.conf(5) says the rest."));
    return;
  }
  const state = [];
  if (m.detached) state.push("Nothing is attached, as was asked for; “mammactl reload” begins again.");
  else if (m.hooks?.length > 0) state.push(`Attached to ${m.hooks.map(visible).join(", ")} for ${plural(m.groups, "control group")} below ${visible(m.root ?? unknown)}${m.kept ? "" : "; not while mamma does not run"}.`);
  else state.push("Nothing is attached to the kernel, so that nothing is placed.");
  if (m.measured) state.push("The kernel reports how TCP connections there fare.");
  if (m.missing_hooks?.length > 0) state.push(`The kernel lacks ${m.missing_hooks.map(visible).join(", ")}: datagrams of sockets that are not connected are not placed.`);
  if (m.mptcp_error) state.push(`Scopes with “mptcp” use TCP: ${visible(m.mptcp_error)}.`);
  if (m.scopes.some((s) => s.failed > 0)) state.push("Not bound are those left or refused because their socket could not be bound to the network that was chosen; the decisions say why.");
  if (m.unseen > 0) state.push(`${plural(m.unseen, "connection")} came too fast to be among the decisions.`);
  replace("scopes-list",
    m.error ? make("p", { class: "note bad" }, `Not as it should be: ${visible(m.error)}`) : "",
    tableOf("Scopes, what they match and what became of their connections", ["Scope", "Matches", "Control groups", "Network", "Placed", "Left", "Refused", "Not bound"],
      m.scopes.map((s) => [make("b", {}, visible(s.name)), matchedBy(s), groupsOf(s), networkOf(s), count(s.placed), count(s.left), count(s.refused), count(s.failed)]), { numbers: [4, 5, 6, 7] }),
    state.map((text) => make("p", { class: "hint" }, text)));
}
