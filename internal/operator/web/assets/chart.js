// Draws lines over time.
import { drawn, setAttribute } from "./dom.js";

const width = 300, height = 48;

// Chart shows up to two lines of values over the same time. Each line is a Float32Array, with
// NaN for unknown values. Each begins at the left edge and ends at the right edge.
export class Chart {
  constructor(classes) {
    this.lines = classes.map((c) => drawn("path", { class: "line " + c, "vector-effect": "non-scaling-stroke" }));
    this.marks = drawn("path", { class: "mark", "vector-effect": "non-scaling-stroke" });
    this.bad = drawn("path", { class: "bad" });
    this.element = drawn("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img" }, this.bad, this.marks, ...this.lines);
  }

  // draw draws the lists, with values from low to high. If a list has more values than the
  // picture has room for, each step shows the highest value, so that no peak vanishes. bad lists
  // the stretches in which the network did not work, from and to in 0..1. marks lists moments.
  draw(lists, low, high, label, bad = [], marks = []) {
    lists.forEach((list, i) => setAttribute(this.lines[i], "d", path(list, low, high)));
    setAttribute(this.bad, "d", bad.map(([a, b]) => `M${x(a)} 0H${x(b)}V${height}H${x(a)}Z`).join(""));
    setAttribute(this.marks, "d", marks.map((m) => `M${x(m)} 0V${height}`).join(""));
    setAttribute(this.element, "aria-label", label);
  }
}

const x = (part) => (part * width).toFixed(1);

function path(list, low, high) {
  const steps = Math.min(list.length, width / 2);
  const range = high > low ? high - low : 1;
  let d = "", on = false;
  for (let i = 0; i < steps; i++) {
    const from = Math.floor(i * list.length / steps), to = Math.floor((i + 1) * list.length / steps);
    let most = NaN;
    for (let j = from; j < to; j++) if (!(list[j] <= most) && !isNaN(list[j])) most = list[j];
    if (isNaN(most)) {
      on = false;
      continue;
    }
    const y = height - 3 - (Math.min(Math.max(most, low), high) - low) / range * (height - 8);
    d += `${on ? "L" : "M"}${(i / (steps - 1) * width).toFixed(1)} ${y.toFixed(1)}`;
    // A single value becomes a point: a line of length 0 with round ends.
    if (!on) d += "h.01";
    on = true;
  }
  return d;
}

// bounds returns the least and the highest known value, or null if nothing is known.
export function bounds(...lists) {
  let low = Infinity, high = -Infinity;
  for (const list of lists) {
    for (const v of list) {
      if (v < low) low = v;
      if (v > high) high = v;
    }
  }
  return high === -Infinity ? null : [low, high];
}
