// The list of decisions, and of the changes of networks between them.
import { amend, byID, cellOf, make, rowOf, say, setText } from "./dom.js";
import { clock, count, plural, unknown, visible } from "./format.js";
import { callerOf, describe, destinationOf, intentsOf, networkWords, outcomeOf, reasonOf, tookOf } from "./detail.js";
import { keyOf, nameOf, tellChange } from "./networks.js";

// kept is how many entries the page remembers. page is how many it shows at first, and how many
// more at each request.
const kept = 1000, page = 50;
// pause is the least time between two drawings. Nobody reads faster.
const pause = 250;

export class Decisions {
  constructor(networks) {
    this.networks = networks;
    this.rows = new Map(); // by entry
    this.open = null; // the entry that is described
    this.held = null; // the entries that are shown while the list is held
    this.newer = 0; // entries that have come since then
    this.shown = page;
    this.reset();
    for (const id of ["filter-program", "filter-destination", "filter-network"]) byID(id).addEventListener("input", () => this.refilter());
    byID("filters").addEventListener("submit", (e) => e.preventDefault());
    byID("pause").addEventListener("click", () => this.hold(this.held === null));
    byID("older").addEventListener("click", () => {
      this.shown += page;
      this.draw();
    });
  }

  reset() {
    this.all = [];
    this.matching = [];
    this.bySeq = new Map();
    this.last = 0; // number of the latest decision
    this.missed = 0;
    this.total = 0;
    this.closeDetail();
    if (this.held) this.hold(false);
    this.wants = wanted();
    this.dirty();
  }

  // take takes in an event.
  take(e) {
    if (e.type === "decision") this.add({ time: e.decision.time, decision: e.decision });
    else if (e.type === "outcome") this.outcome(e.decision);
    else if (e.type === "prefix" && this.networks.forgetful) { // otherwise app.js asks for them, so that none is missed
      const p = e.prefix.prefix;
      this.add({ time: e.time, change: { change: e.prefix.change, prefix: p.prefix, name: p.name, interface: p.interface, cost: p.cost, health: p.health.state, reason: p.health.reason } });
    } else if (e.type === "reload") this.add({ time: e.time, reload: e.reload });
    else if (e.type === "dropped") {
      this.missed += e.dropped;
      this.dirty();
    }
  }

  add(entry) {
    const d = entry.decision;
    if (d) {
      if (d.seq <= this.last) {
        if (d.seq !== 0) this.outcome(d);
        return;
      }
      this.last = d.seq;
      this.total++;
      this.bySeq.set(d.seq, entry);
    }
    push(this.all, entry, (old) => old.decision && this.bySeq.delete(old.decision.seq));
    if (this.wants(entry)) {
      push(this.matching, entry);
      if (this.held) this.newer++;
    }
    this.dirty();
  }

  // happened takes in a change of a network. The change may have been a while ago, so it is
  // inserted by its time.
  happened(c) {
    const entry = { time: c.time, change: c };
    insert(this.all, entry);
    if (this.wants(entry)) {
      insert(this.matching, entry);
      if (this.held) this.newer++;
    }
    this.dirty();
  }

  outcome(d) {
    const entry = this.bySeq.get(d.seq) ?? this.matching.find((e) => e.decision?.seq === d.seq);
    if (!entry) return;
    entry.decision = d;
    entry.changed = true;
    this.dirty();
  }

  refilter() {
    this.wants = wanted();
    this.matching = this.all.filter(this.wants);
    this.shown = page;
    if (this.held) this.hold(false);
    this.dirty();
  }

  // hold keeps the list as it is, so that it can be read while thousands of entries come.
  hold(on) {
    this.held = on ? this.matching.slice() : null;
    this.newer = 0;
    this.heldToRead = false;
    byID("pause").classList.toggle("on", on);
    if (!on) this.closeDetail();
    this.dirty();
  }

  closeDetail() {
    this.open = null;
  }

  dirty() {
    if (this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.draw();
    }, pause);
  }

  draw() {
    const source = this.held ?? this.matching;
    const list = source.slice(-this.shown).reverse();
    const body = byID("decisions-rows");
    const want = [];
    for (const entry of list) {
      const open = entry === this.open;
      let row = this.rows.get(entry);
      if (!row) this.rows.set(entry, row = this.rowOf(entry, open));
      else if (entry.changed) amend(row, this.rowOf(entry, open)); // the focus stays where it is
      entry.changed = false;
      want.push(row);
      row.querySelector("button")?.setAttribute("aria-expanded", String(open));
      row.classList.toggle("open", open);
      if (open) want.push(this.detailRow(entry));
    }
    const keep = new Set(list);
    for (const entry of this.rows.keys()) if (!keep.has(entry)) this.rows.delete(entry);
    const focused = body.contains(document.activeElement);
    reconcile(body, want);
    this.words(source);
    // The keyboard's focus goes to a line near the one that had it.
    if (focused && document.activeElement === document.body) byID("pause").focus();
  }

  detailRow(entry) {
    const fresh = rowOf({ class: "described" }, cellOf({ colspan: "6" }, describe(entry.decision, this.networks, this.all)));
    if (this.detail?.entry === entry) amend(this.detail.row, fresh);
    else this.detail = { entry, row: fresh };
    return this.detail.row;
  }

  words(source) {
    byID("decisions-none").hidden = source.length > 0;
    byID("decisions-table").hidden = source.length === 0;
    setText(byID("decisions-none"), this.all.length === 0 ? "No decisions yet. They appear as programs connect through mamma." : "Nothing of what the page remembers matches the filters.");
    byID("older").hidden = source.length <= this.shown;
    const parts = [];
    if (this.held) parts.push(`paused; ${plural(this.newer, "new entr").replace(/entrs$/, "entries").replace(/entr$/, "entry")}`);
    if (this.matching.length !== this.all.length) parts.push(`${count(this.matching.length)} of ${count(this.all.length)}`);
    if (this.missed > 0) parts.push(`${count(this.missed)} came too fast to be shown`);
    setText(byID("decisions-count"), parts.join("; "));
    setText(byID("pause"), this.held ? "Resume" : "Pause");
  }

  rowOf(entry, open) {
    const time = make("time", { dateTime: entry.time }, clock(entry.time));
    if (!entry.decision) {
      const text = entry.change ? tellChange(entry.change) : entry.reload.error
        ? `The configuration was not read again: ${visible(entry.reload.error.split("\n")[0])}` : `The configuration was read again; the policy is ${visible(entry.reload.policy ?? "none")}`;
      const kind = entry.change && (entry.change.change === "removed" || entry.change.health === "down") ? "happened bad" : "happened";
      return rowOf({ class: kind }, cellOf({ "data-label": "Time" }, time), cellOf({ colspan: "5" }, text));
    }
    const d = entry.decision;
    const button = make("button", { type: "button", class: "link", "aria-expanded": String(open), onclick: () => this.toggle(entry) }, destinationOf(d));
    const went = d.outcome && (d.outcome.errno !== 0 || d.outcome.candidate !== 0) ? outcomeOf(d) : "";
    const cells = [["Time", time], ["Program", callerOf(d)], ["Destination", button], ["Intents", intentsOf(d) || unknown],
      ["Network", make("b", {}, networkWords(d))], ["Why", went ? `${reasonOf(d)}. ${went}` : reasonOf(d)]];
    const classes = [d.refused || (d.outcome && d.outcome.errno !== 0) ? "bad" : "", open ? "open" : ""].join(" ").trim();
    return rowOf({ class: classes || null, onclick: (e) => {
      if (!e.target.closest("button") && getSelection().isCollapsed) this.toggle(entry);
    } }, cells.map(([label, c]) => cellOf({ "data-label": label, class: c === unknown ? "none" : null }, c)));
  }

  // toggle opens or closes a description. The list pauses while one is read.
  toggle(entry) {
    const closing = this.open === entry;
    if (!closing && !this.held) {
      this.hold(true);
      this.heldToRead = true;
    }
    if (closing && this.heldToRead) this.hold(false);
    this.open = closing ? null : entry;
    this.draw();
    say(closing ? "Closed" : "Described below; the list is paused");
  }

  // choices offers the values by which the list can be filtered.
  choices() {
    if (this.open) this.dirty(); // more may be known by now, so the description changes
    const select = byID("filter-network");
    const names = new Map([["", "any"]]);
    for (const n of this.networks.list()) names.set(keyOf(n.prefix), `${n.name} ${visible(n.prefix.prefix)}`);
    if (select.value && !names.has(select.value)) names.set(select.value, select.selectedOptions[0].textContent);
    replaceOptions(select, names);
    const programs = new Map();
    for (const e of this.all) for (const c of [e.decision?.origin?.command, e.decision?.app.command]) if (c && programs.size < 100) programs.set(visible(c), "");
    replaceOptions(byID("programs-known"), programs);
  }
}

function replaceOptions(parent, names) {
  const wanted = [...names.keys()].join("\u0000");
  if (parent.known === wanted) return;
  parent.known = wanted;
  const value = parent.value;
  parent.replaceChildren(...[...names].map(([v, text]) => make("option", { value: v }, text)));
  if (value !== undefined && names.has(value)) parent.value = value;
}

function push(list, entry, forgotten = () => {}) {
  list.push(entry);
  // Do not shorten the list at each entry, because the rest of it moves.
  if (list.length > kept + 200) list.splice(0, list.length - kept).forEach(forgotten);
}

// insert puts an entry into a list that is sorted by time.
function insert(list, entry) {
  const time = Date.parse(entry.time);
  let at = list.length;
  while (at > 0 && Date.parse(list[at - 1].time) > time) at--;
  list.splice(at, 0, entry);
}

// wanted makes a function that applies the filters to an entry.
function wanted() {
  const program = byID("filter-program").value.trim().toLowerCase();
  const destination = byID("filter-destination").value.trim().toLowerCase();
  const network = byID("filter-network").value;
  return (e) => {
    const d = e.decision;
    if (!d) return program === "" && destination === "" && (network === "" || (e.change && keyOf(e.change) === network));
    const took = tookOf(d);
    return (program === "" || callerOf(d).toLowerCase().includes(program) || (d.app.executable ?? "").toLowerCase().includes(program))
      && (destination === "" || destinationOf(d).toLowerCase().includes(destination))
      && (network === "" || [d.chosen, took].some((p) => p && keyOf(p) === network));
  };
}

// reconcile makes the children of body those in want. It moves as few as possible, because an
// element that is taken out loses the keyboard's focus.
function reconcile(body, want) {
  const keep = new Set(want);
  for (const e of [...body.children]) if (!keep.has(e)) e.remove();
  let at = body.firstChild;
  for (const e of want) {
    if (e === at) at = at.nextSibling;
    else body.insertBefore(e, at);
  }
}

export { nameOf };
