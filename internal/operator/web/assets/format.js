// Formats figures for people, with units, as mammactl writes them. "–" means unknown. A line does
// not break between a figure and its unit.

export const unknown = "–";

const gap = "\u00a0";

export function milliseconds(ms) {
  if (ms === null || ms === undefined || !isFinite(ms)) return unknown;
  if (ms > 0 && ms < 0.01) return `less than 0.01${gap}ms`;
  if (ms < 1) return ms.toFixed(2) + gap + "ms";
  if (ms < 10) return ms.toFixed(1) + gap + "ms";
  if (ms < 1000) return ms.toFixed(0) + gap + "ms";
  if (ms < 1e6) return (ms / 1000).toFixed(1) + gap + "s";
  return long(ms);
}

export function long(ms) {
  if (ms === null || ms === undefined || !isFinite(ms)) return unknown;
  const s = Math.floor(ms / 1000), m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
  if (d > 0) return `${d}${gap}d${gap}${h % 24}${gap}h`;
  if (h > 0) return `${h}${gap}h${gap}${m % 60}${gap}min`;
  if (m > 0) return `${m}${gap}min${gap}${s % 60}${gap}s`;
  return `${s}${gap}s`;
}

// rate formats bytes per second.
export function rate(bytes) {
  if (bytes === null || bytes === undefined || !isFinite(bytes)) return unknown;
  const bits = bytes * 8;
  if (bits >= 1e9) return (bits / 1e9).toFixed(2) + gap + "Gbit/s";
  if (bits >= 1e5 || bits === 0) return (bits / 1e6).toFixed(1) + gap + "Mbit/s";
  return (bits / 1e3).toFixed(bits < 1e4 ? 1 : 0) + gap + "kbit/s";
}

export function size(bytes) {
  if (bytes === null || bytes === undefined || !isFinite(bytes)) return unknown;
  let f = bytes;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (Math.abs(f) < 999.5) return (unit === "B" || Math.abs(f) >= 99.95 ? f.toFixed(0) : f.toFixed(1)) + gap + unit;
    f /= 1000;
  }
  return f.toFixed(1) + gap + "TB";
}

export function count(n) {
  if (n === null || n === undefined) return unknown;
  return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

export function plural(n, what) {
  return n === 1 ? `1 ${what}` : `${count(n)} ${what}s`;
}

const two = (n) => String(n).padStart(2, "0");

export function clock(text) {
  const t = new Date(text);
  if (isNaN(t)) return unknown;
  return `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
}

export function date(text) {
  const t = new Date(text);
  if (isNaN(t)) return unknown;
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${clock(text)}`;
}

// term formats a figure of a score.
export function term(t) {
  if (!t || t.value === null) return unknown;
  switch (t.unit) {
    case "ms": return milliseconds(t.value);
    case "bytes_per_second": return rate(t.value);
    case "bytes": return size(t.value);
    case "count": return t.value.toFixed(0);
    case "probability": return (t.value * 100).toFixed(0) + gap + "%";
  }
  return String(Number(t.value.toPrecision(4)));
}

// visible returns a text from outside in which characters that are invisible, or that change the
// direction of writing, are made visible. A name must not look like another one.
export function visible(text) {
  return String(text).replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu, "\ufffd");
}
