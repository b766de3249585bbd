// Makes the elements of the page. Whatever comes from outside becomes text here. Nothing in
// these files parses markup, and the page's Content-Security-Policy would not allow it.

const svgNamespace = "http://www.w3.org/2000/svg";

// make makes an element. The properties class, role and those with a hyphen become attributes,
// those that begin with on become listeners, and those that are null are left out. Children are
// elements or text.
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

// setText changes a text only if it differs, so that screen readers and selections keep their
// place.
export function setText(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

export function setAttribute(e, name, value) {
  if (e.getAttribute(name) !== value) e.setAttribute(name, value);
}

// amend changes the node old so that it equals fresh, and returns the node that is in the page
// afterwards. Parts that are equal already remain, so that a selection and the focus stay. The
// listeners of old remain too, even if those of fresh are different.
export function amend(old, fresh) {
  if (old.isEqualNode(fresh)) return old;
  if (old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
    return fresh;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    old.data = fresh.data;
    return old;
  }
  for (const name of old.getAttributeNames()) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const name of fresh.getAttributeNames()) setAttribute(old, name, fresh.getAttribute(name));
  const have = [...old.childNodes], want = [...fresh.childNodes];
  want.forEach((e, i) => (i < have.length ? amend(have[i], e) : old.append(e)));
  have.slice(want.length).forEach((e) => e.remove());
  return old;
}

// replace makes a place show these children. A selection and the focus stay as long as possible.
export function replace(id, ...children) {
  const place = byID(id), fresh = make("div", {}, ...children);
  if (place.firstElementChild) amend(place.firstElementChild, fresh);
  else place.append(fresh);
}

// say makes a screen reader say something once.
export function say(text) {
  // A screen reader does not say a text again that is there already.
  byID("said").textContent = "";
  setTimeout(() => setText(byID("said"), text), 100);
}

// In a narrow window, the style sheet shows each row as a block. Browsers then no longer tell
// screen readers that it is a table, so rows and cells have roles that do.
export const rowOf = (properties, ...cells) => make("tr", { role: "row", ...properties }, ...cells);
export const cellOf = (properties, ...children) => make("td", { role: "cell", ...properties }, ...children);

// tableOf makes a table with headings. Each row is a list of cells, which are text or elements.
// seen tells whether the caption is visible. classOf returns the class of a row by its number.
// numbers lists the columns with figures, which are aligned on the right.
export function tableOf(caption, heads, rows, { seen = false, classes = "stack", classOf = () => null, numbers = [] } = {}) {
  const kind = (i) => (numbers.includes(i) ? "number" : null);
  return make("div", { class: "scroll", role: "group", "aria-label": caption }, make("table", { class: classes, role: "table" },
    make("caption", { class: seen ? null : "unseen" }, caption),
    make("thead", { role: "rowgroup" }, rowOf({}, heads.map((h, i) => make("th", { scope: "col", role: "columnheader", class: kind(i) }, h)))),
    make("tbody", { role: "rowgroup" }, rows.map((cells, n) => rowOf({ class: classOf(n) }, cells.map((c, i) => cellOf({ "data-label": heads[i], class: kind(i) }, c === "" ? "–" : c)))))));
}

// copyButton makes a button that copies a text.
export function copyButton(text) {
  const b = make("button", { type: "button", class: "copy", "aria-label": `Copy the command ${text}` }, "Copy");
  b.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      setText(b, "Copied");
      say("Copied");
    } catch {
      // If the page may not write to the clipboard, it selects the text, to be copied by keyboard.
      getSelection().selectAllChildren(b.previousElementSibling);
      setText(b, "Marked");
    }
    setTimeout(() => setText(b, "Copy"), 2000);
  });
  return b;
}
