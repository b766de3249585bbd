// Makes what is on the page. Whatever comes from outside becomes text here: nothing in
// these files parses markup, and the page's policy would not let it.

const svgNamespace = "http://www.w3.org/2000/svg";

// make makes an element. Of its properties "class" and those with a hyphen, and role, are
// attributes, on* are listeners, null is left out; children are elements or text.
export function make(name, properties = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (key.startsWith("on")) e.addEventListener(key.slice(2), value);
    else if (key === "class" || key === "role" || key.includes("-") || key === "colspan" || key === "for" || key === "scope") e.setAttribute(key, value);
    else e[key] = value;
  }
  e.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== ""));
  return e;
}

export function drawn(name, attributes = {}, ...children) {
  const e = document.createElementNS(svgNamespace, name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

export const byID = (id) => document.getElementById(id);

// setText changes a text only where it differs: readers of screens and selections stay.
export function setText(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

export function setAttribute(e, name, value) {
  if (e.getAttribute(name) !== value) e.setAttribute(name, value);
}

// replace puts new children where they differ from those that are there: what is marked
// or has the focus stays as long as it can.
export function replace(id, ...children) {
  const place = byID(id);
  const fresh = make("div", {}, ...children);
  if (place.firstElementChild?.isEqualNode(fresh)) return;
  if (place.contains(document.activeElement)) return;
  place.replaceChildren(fresh);
}

// say has a screen reader say something once.
export function say(text) {
  // A text that is there already would not be said again.
  byID("said").textContent = "";
  setTimeout(() => setText(byID("said"), text), 100);
}

// A narrow window shows each row as a block, by the style sheet. Browsers take a table that
// is no table to look at for none, so that rows and cells say what they are.
export const rowOf = (properties, ...cells) => make("tr", { role: "row", ...properties }, ...cells);
export const cellOf = (properties, ...children) => make("td", { role: "cell", ...properties }, ...children);

// tableOf makes a table with headings; each row is a list of cells, text or elements. seen
// tells whether the caption is seen, and classOf the class of a row, by its number.
export function tableOf(caption, heads, rows, { seen = false, classes = "stack", classOf = () => null } = {}) {
  return make("div", { class: "scroll", role: "group", "aria-label": caption }, make("table", { class: classes, role: "table" },
    make("caption", { class: seen ? null : "unseen" }, caption),
    make("thead", { role: "rowgroup" }, rowOf({}, heads.map((h) => make("th", { scope: "col", role: "columnheader" }, h)))),
    make("tbody", { role: "rowgroup" }, rows.map((cells, n) => rowOf({ class: classOf(n) }, cells.map((c, i) => cellOf({ "data-label": heads[i] }, c === "" ? "–" : c)))))));
}

// copyButton copies a text.
export function copyButton(text) {
  const b = make("button", { type: "button", class: "copy", "aria-label": `Copy the command ${text}` }, "Copy");
  b.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      setText(b, "Copied");
      say("Copied");
    } catch {
      // Without the right to write there, the text is marked, for the keyboard's copy.
      getSelection().selectAllChildren(b.previousElementSibling);
      setText(b, "Marked");
    }
    setTimeout(() => setText(b, "Copy"), 2000);
  });
  return b;
}
