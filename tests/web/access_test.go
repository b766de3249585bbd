package web

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/socket-intents/mamma/internal/operator/web"
	"github.com/socket-intents/mamma/internal/testing/chromium"
)

// pale lists the texts whose contrast with their background is below 4.5 (WCAG 2.2, 1.4.3),
// and the fields and buttons whose edge has less than 3 (1.4.11).
const pale = `(() => {
	const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return [m[0], m[1], m[2], m[3] ?? 1]; };
	const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
	const back = (e) => {
		const layers = [];
		for (; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
		return layers.reverse().reduce((b, l) => over(l, b), [255, 255, 255, 1]);
	};
	const light = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((x, y) => y - x); return (x + 0.05) / (y + 0.05); };
	const dim = (e) => { let o = 1; for (; e; e = e.parentElement) o *= Number(getComputedStyle(e).opacity); return o; };
	const out = new Set();
	let looked = 0;
	const check = (e, color, least, what) => {
		const b = back(e), c = parse(color);
		c[3] *= dim(e);
		const k = contrast(over(c, b), b);
		looked++;
		if (k < least) out.add(what + ": " + k.toFixed(2) + " of " + color + " on " + b.slice(0, 3).map(Math.round));
	};
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n; n = walker.nextNode();) {
		const e = n.parentElement;
		if (n.data.trim() === "" || e.closest(".unseen, .skip, [hidden], datalist, noscript, option, :disabled") || e.getClientRects().length === 0) continue;
		check(e, getComputedStyle(e).color, 4.5, e.tagName + "." + e.className + " " + n.data.trim().slice(0, 30));
	}
	for (const e of document.querySelectorAll("td[data-label]")) {
		const s = getComputedStyle(e, "::before");
		if (s.content !== "none" && e.getClientRects().length > 0) check(e, s.color, 4.5, "the label " + e.dataset.label);
	}
	for (const e of document.querySelectorAll("[placeholder]")) check(e, getComputedStyle(e, "::placeholder").color, 4.5, "the placeholder of #" + e.id);
	for (const e of document.querySelectorAll("input, select, button:not(.link)")) {
		if (e.getClientRects().length > 0) check(e.parentElement, getComputedStyle(e).borderTopColor, 3, "the edge of #" + e.id);
	}
	return looked < 50 ? ["only " + looked + " things were looked at"] : [...out];
})()`

// focused describes the element that has the keyboard's focus, and says what is wrong with
// how the focus is shown.
const focused = `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))).then(() => {
	const e = document.activeElement;
	if (!e || e === document.body) return { name: "" };
	const s = getComputedStyle(e), r = e.getBoundingClientRect(), wrong = [];
	if (s.outlineStyle === "none" || parseFloat(s.outlineWidth) < 2) wrong.push("it has no outline");
	const top = e.closest("header, .skip") ? 0 : document.querySelector("header").getBoundingClientRect().bottom;
	if (r.width === 0 || r.bottom <= top || r.top >= innerHeight) wrong.push("it is out of sight, from " + r.top + " to " + r.bottom + " below " + top);
	const all = [...document.querySelectorAll("*")];
	return { name: e.tagName + "#" + e.id + " " + (e.textContent || e.getAttribute("aria-label") || "").trim().slice(0, 30), at: all.indexOf(e), wrong };
})`

// everything makes the page show all that it can: a description, findings, an answer, and
// changes.
func everything(t *testing.T, ctx context.Context, d *daemon, dir string) *chromium.Page {
	t.Helper()
	a := d.asker(t)
	for i := range 5 {
		if _, err := a.ask(fmt.Sprintf("h%d.example.net", i), "curl"); err != nil {
			t.Fatal(err)
		}
	}
	p := page(t, ctx, browser(t), serveWeb(t, dir, func(o *web.Options) { o.AllowChanges = true }))
	if err := p.Show(ctx, 1440, 900, false); err != nil {
		t.Fatal(err)
	}
	await(t, ctx, p, `document.querySelectorAll("#decisions-rows button").length === 5 && document.querySelectorAll(".card").length === 2 && !document.getElementById("changes").hidden`)
	eval(t, ctx, p, `document.documentElement.style.scrollBehavior = "auto"; document.getElementById("doctor-run").click(); document.querySelector("#decisions-rows button").click();
		document.getElementById("ask-host").value = "www.example.net"; document.getElementById("ask-form").requestSubmit()`, nil)
	await(t, ctx, p, `document.querySelector("tr .detail") && document.querySelector("#ask-answer .detail") && document.querySelectorAll("#doctor-list .copy").length === 2 && document.querySelector("#multipath-list table")`)
	return p
}

// A screen reader is told the name of each control, and what is a table. This holds in the
// widest window and in the narrowest, in which tables are shown as blocks.
func TestNames(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	p := everything(t, ctx, startDaemon(t, dir, two, "fast"), dir)
	for _, width := range []int{1440, 320} {
		if err := p.Show(ctx, width, 900, false); err != nil {
			t.Fatal(err)
		}
		list, err := p.Accessibility(ctx)
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		within := map[int]map[string]int{} // roles within a table, by its place
		for i, n := range list {
			count[n.Role]++
			named := []string{"button", "link", "textbox", "searchbox", "combobox", "meter", "image", "img", "table", "form", "region", "group", "article"}
			if n.Name == "" && (slices.Contains(named, n.Role) || n.Focusable && n.Role != "main") {
				t.Errorf("at %d: a %s has no name: %+v", width, n.Role, n)
			}
			if n.Focusable && slices.Contains([]string{"generic", "none", ""}, n.Role) {
				t.Errorf("at %d: %q can have the focus and has no role", width, n.Name)
			}
			if n.Role == "table" {
				within[i] = map[string]int{}
			}
			for j := n.Parent; j >= 0; j = list[j].Parent {
				if list[j].Role == "table" {
					within[j][n.Role]++
					break
				}
			}
		}
		t.Log(width, count)
		for _, role := range []string{"banner", "main", "navigation"} {
			if count[role] != 1 {
				t.Errorf("at %d: %d of the role %s", width, count[role], role)
			}
		}
		if count["heading"] < 10 || count["table"] < 5 || count["meter"] != 1 || count["button"] < 10 {
			t.Errorf("at %d: roles are missing: %v", width, count)
		}
		for i, roles := range within {
			if roles["row"] < 1 || roles["cell"] < 2 || width > 736 && roles["columnheader"] < 2 {
				t.Errorf("at %d: the table %q has %v", width, list[i].Name, roles)
			}
		}
	}
	calm(t, p)
}

// The keyboard reaches everything, in the order in which it stands on the page, and one can
// see where it is.
func TestKeyboard(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	d := startDaemon(t, dir, two, "fast")
	p := everything(t, ctx, d, dir)
	eval(t, ctx, p, `document.activeElement.blur(); scrollTo(0, 0); getSelection().removeAllRanges()`, nil)
	type place struct {
		Name  string   `json:"name"`
		At    int      `json:"at"`
		Wrong []string `json:"wrong"`
	}
	var names []string
	last := -1
	for range 200 {
		if err := p.Press(ctx, "Tab"); err != nil {
			t.Fatal(err)
		}
		var f place
		eval(t, ctx, p, focused, &f)
		if f.Name == "" || len(names) > 0 && f.Name == names[0] {
			break // it was everywhere
		}
		names = append(names, f.Name)
		if f.At <= last {
			t.Errorf("the keyboard goes back, to %s", f.Name)
		}
		last = f.At
		for _, w := range f.Wrong {
			t.Errorf("%s: %s", f.Name, w)
		}
	}
	var controls int
	eval(t, ctx, p, `[...document.querySelectorAll("a[href], button:not(:disabled), input, select")].filter(e => e.getClientRects().length > 0 || e.matches(".skip")).length`, &controls)
	if len(names) < controls || controls < 25 {
		t.Errorf("%d of %d controls were reached: %q", len(names), controls, names)
	}

	// Escape closes, and the keyboard stays where it was. Enter and the space bar open.
	eval(t, ctx, p, `document.querySelectorAll("#decisions-rows button")[2].focus()`, nil)
	for _, key := range []string{"Enter", " "} {
		const third = `document.querySelectorAll("#decisions-rows button")[2]`
		if err := p.Press(ctx, key); err != nil {
			t.Fatal(err)
		}
		await(t, ctx, p, third+`.getAttribute("aria-expanded") === "true" && document.querySelector("tr .detail")`)
		if err := p.Press(ctx, "Escape"); err != nil {
			t.Fatal(err)
		}
		await(t, ctx, p, third+`.getAttribute("aria-expanded") === "false" && !document.querySelector("tr .detail") && document.activeElement === `+third)
	}
	// If the line with the focus leaves the list, the focus goes to a line near it.
	eval(t, ctx, p, `[...document.querySelectorAll("#decisions-rows button")].at(-1).focus()`, nil)
	a := d.asker(t)
	for i := range 60 {
		if _, err := a.ask(fmt.Sprintf("more%d.example.net", i), "curl"); err != nil {
			t.Fatal(err)
		}
	}
	await(t, ctx, p, `document.querySelector("#decisions-rows tr").innerText.includes("more59") && document.activeElement.id === "pause"`)
	calm(t, p)
}

// Changes that come by themselves are not read out, because a screen reader would never
// end.
func TestQuiet(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	d := startDaemon(t, dir, two, "fast")
	p := everything(t, ctx, d, dir)
	await(t, ctx, p, `document.getElementById("said").textContent !== ""`)
	eval(t, ctx, p, `new Promise((done) => setTimeout(done, 500)).then(() => {
		window.spoken = [];
		new MutationObserver((list) => {
			for (const m of list) {
				const e = m.target.nodeType === 1 ? m.target : m.target.parentElement;
				const live = e?.closest("[role=alert], [role=status], [role=log], [aria-live]:not([aria-live=off])");
				if (live && live.textContent !== "") spoken.push(live.id + ": " + live.textContent);
			}
		}).observe(document.body, { subtree: true, childList: true, characterData: true });
	})`, nil)
	eval(t, ctx, p, `document.getElementById("pause").click()`, nil) // go on
	a := d.asker(t)
	for i := range 600 {
		if _, err := a.ask(fmt.Sprintf("h%d.example.net", i), "curl"); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			d.publish(two(541 + i)[:1+i/100%2])
			await(t, ctx, p, fmt.Sprintf(`document.querySelector("#decisions-rows").innerText.includes("h%d.")`, i))
		}
	}
	await(t, ctx, p, `document.querySelector("#decisions-rows").innerText.includes("h599")`)
	var spoken []string
	eval(t, ctx, p, `spoken`, &spoken)
	if len(spoken) > 0 {
		t.Errorf("%d things are read out: %.5q", len(spoken), spoken)
	}
	// An answer that somebody asked for is read out once.
	eval(t, ctx, p, `document.querySelector("#decisions-rows button").click()`, nil)
	await(t, ctx, p, `spoken.length > 0`)
	eval(t, ctx, p, `spoken`, &spoken)
	if len(spoken) != 1 || spoken[0] != "said: Described below; the list is paused" {
		t.Errorf("read out: %q", spoken)
	}
	// It is also read out that mamma is gone.
	d.stop()
	await(t, ctx, p, `spoken.some((s) => s.startsWith("trouble: ") && s.includes("No mamma answers"))`)
}

// Text can be read in light and dark, in wide and narrow windows, while the daemon is there
// and when it is gone, and also if it is twice as large.
func TestContrast(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	d := startDaemon(t, dir, two, "fast")
	p := everything(t, ctx, d, dir)
	d.publish(two(541)[:1])
	await(t, ctx, p, `document.querySelector(".card.gone")`)
	for _, state := range []string{"there", "gone"} {
		if state == "gone" {
			d.stop()
			await(t, ctx, p, `!document.getElementById("trouble").hidden`)
		}
		for _, width := range []int{1440, 320} {
			for _, dark := range []bool{false, true} {
				if err := p.Show(ctx, width, 900, dark); err != nil {
					t.Fatal(err)
				}
				var out []string
				eval(t, ctx, p, pale, &out)
				for _, o := range out {
					t.Errorf("%s, at %d, dark %v: %s", state, width, dark, o)
				}
			}
		}
	}
	for _, width := range []int{640, 1280} {
		if err := p.Show(ctx, width, 900, false); err != nil {
			t.Fatal(err)
		}
		var out []string
		eval(t, ctx, p, `document.documentElement.style.fontSize = "187.5%"; new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))).then(() => `+overflow+`)`, &out)
		for _, o := range out {
			t.Errorf("with text twice as large, at %d: %s", width, o)
		}
	}
	var px string
	eval(t, ctx, p, `document.documentElement.style.fontSize = ""; [...document.styleSheets].flatMap((s) => [...s.cssRules]).filter((r) => r.style?.fontSize?.endsWith("px")).map((r) => r.cssText).join()`, &px)
	if px != "" {
		t.Errorf("text does not follow the size that the browser is set to: %s", px)
	}
}

// A reader who prefers no motion sees none.
func TestMotion(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	startDaemon(t, dir, two, "fast")
	p := page(t, ctx, browser(t), serveWeb(t, dir, nil))
	await(t, ctx, p, `document.querySelectorAll(".card").length === 2`)
	const moves = `[...document.querySelectorAll("*")].some((e) => { const s = getComputedStyle(e); return s.scrollBehavior === "smooth" || s.animationName !== "none" || parseFloat(s.transitionDuration) > 0 })`
	for value, want := range map[string]bool{"reduce": false, "no-preference": true} {
		if err := p.Prefer(ctx, "prefers-reduced-motion", value); err != nil {
			t.Fatal(err)
		}
		var got bool
		eval(t, ctx, p, moves, &got)
		if got != want {
			t.Errorf("%s: something moves: %v", value, got)
		}
	}
}
