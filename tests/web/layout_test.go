package web

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// layout is what a reader would find wrong with the page as it is drawn, besides what
// sticks out: texts on each other, in columns of single letters, or too small; figures of
// one column, and what is alike in cards side by side, that are not in line; and what is
// too small to be touched (WCAG 2.2, 2.5.8). The places are compared with each other, and
// not with those of an earlier picture, so that fonts and versions of Chromium do not matter.
// TestPictures finds out whether what has a place is seen there.
const layout = `(() => {
	const out = [], texts = [];
	const name = (e) => e.tagName + "." + e.className + "#" + e.id + " " + e.textContent.trim().slice(0, 30);
	const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
	for (let n; n = walker.nextNode();) {
		const e = n.parentElement;
		if (n.data.trim() === "" || e.closest(".unseen, [hidden], datalist, noscript, option") || e.getClientRects().length === 0) continue;
		const size = parseFloat(getComputedStyle(e).fontSize), range = document.createRange();
		range.selectNodeContents(n);
		const r = range.getBoundingClientRect();
		if (size < 12) out.push("too small, " + size + ": " + name(e));
		if (n.data.trim().length > 3 && r.width < 2 * size && r.height > 3 * size) out.push("in a column of letters: " + name(e));
		// A text that is cut off on purpose takes its element's place only.
		const box = e.closest("td > b")?.getBoundingClientRect();
		texts.push({ e, x: r.left, y: r.top, right: r.right, bottom: box ? Math.min(r.bottom, box.bottom) : r.bottom, size });
	}
	if (texts.length < 20) out.push("only " + texts.length + " texts were looked at");
	texts.sort((a, b) => a.y - b.y);
	texts.forEach((a, i) => {
		// The lines of neighbouring texts may come as near as their descenders.
		for (let j = i + 1; j < texts.length && texts[j].y < a.bottom - 0.35 * a.size; j++) {
			const b = texts[j];
			if (Math.min(a.right, b.right) - Math.max(a.x, b.x) > 1 && a.e.parentElement !== b.e.parentElement && !a.e.contains(b.e) && !b.e.contains(a.e)) out.push(name(a.e) + " is on " + name(b.e));
		}
	});
	const inLine = (what, list, tolerance = 1) => {
		if (Math.max(...list) - Math.min(...list) > tolerance) out.push("not in line: " + what + " at " + [...new Set(list.map(Math.round))]);
	};
	const seen = (e) => e.getClientRects().length > 0;
	const rowsOf = new Map();
	for (const c of document.querySelectorAll(".card")) {
		const y = Math.round(c.getBoundingClientRect().top);
		rowsOf.set(y, [...rowsOf.get(y) ?? [], c]);
	}
	for (const cards of rowsOf.values()) {
		for (let i = 0; i < 2; i++) inLine("lines of cards", cards.map((c) => c.querySelectorAll("svg")[i].getBoundingClientRect().top));
		inLine("ends of cards", cards.map((c) => c.getBoundingClientRect().bottom));
	}
	const textOf = (c) => { const r = document.createRange(); r.selectNodeContents(c); return r.getBoundingClientRect(); };
	for (const t of document.querySelectorAll("table")) {
		if (!seen(t)) continue;
		const rows = [...t.rows].filter((r) => r.parentElement.tagName === "TBODY" && r.cells.length > 2), heads = [...t.tHead.rows[0].cells];
		if (rows.length === 0) continue;
		if (!seen(t.tHead)) {
			if (t.id !== "decisions-table") inLine("values of " + name(t), rows.flatMap((r) => [...r.cells].filter(seen).map((c) => textOf(c).left)));
			continue;
		}
		heads.forEach((h, i) => {
			const cells = rows.map((r) => r.cells[i]);
			const edge = h.matches(".number") ? "right" : "left";
			inLine("column " + h.textContent + " of " + name(t), [h, ...cells].map((c) => textOf(c)[edge]), h.matches(".number") ? 1 : 2);
		});
	}
	for (const e of document.querySelectorAll("button:not(.link), input, select, nav a")) {
		const r = e.getBoundingClientRect();
		if (seen(e) && (r.height < 24 || r.width < 24)) out.push("too small to be touched: " + name(e) + " " + r.width + " x " + r.height);
	}
	return out.slice(0, 20);
})()`

// Later reports on a connection change its line, which stays in place: the keyboard's
// focus stays on it, and marked text stays marked.
func TestOutcomeKeepsFocus(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	d := startDaemon(t, dir, two, "fast")
	a := d.asker(t)
	answer, err := a.ask("www.example.net", "curl")
	if err != nil {
		t.Fatal(err)
	}
	p := page(t, ctx, browser(t), serveWeb(t, dir, nil))
	await(t, ctx, p, `document.querySelectorAll("#decisions-rows button").length === 1`)
	eval(t, ctx, p, `window.at = document.querySelector("#decisions-rows button"); window.left = 0;
		at.addEventListener("blur", () => left++); at.focus(); getSelection().selectAllChildren(document.querySelector("#decisions-rows td"))`, nil)
	if _, err := a.exchange(wire.Message{
		Action: wire.ActionReportRequest, HasAction: true, DecisionID: answer.DecisionID, Features: wire.FeatureReports,
		Outcome: &wire.Outcome{Candidate: 1, Milliseconds: 250},
	}); err != nil {
		t.Fatal(err)
	}
	await(t, ctx, p, `document.getElementById("decisions-rows").innerText.includes("did not work out")`)
	var kept bool
	eval(t, ctx, p, `document.activeElement === at && at.isConnected && left === 0 && /^\d\d:\d\d:\d\d$/.test(getSelection().toString().trim())`, &kept)
	if !kept {
		t.Error("the focus or what was marked has gone")
	}
	// And it opens as before.
	if err := p.Press(ctx, "Enter"); err != nil {
		t.Fatal(err)
	}
	await(t, ctx, p, `document.querySelector("tr .detail").innerText.includes("did not work out") && at.getAttribute("aria-expanded") === "true"`)
	calm(t, p)
}

// last chooses the last network, without figures.
type last struct{}

func (last) Choose(r *policy.Request) policy.Decision {
	return policy.Decision{Prefix: r.Prefixes[len(r.Prefixes)-1], Reason: "the last"}
}

// A description that is open tells more as more is known, and a transfer is not compared
// with what it did itself.
func TestKnownLater(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	silent := func(int) []*policy.Prefix {
		list := two(1)
		for _, p := range list {
			p.Stats, p.Link = policy.PathStats{}, policy.LinkStats{}
		}
		return list
	}
	d := startDaemon(t, dir, silent, "fast")
	d.runner = mam.NewRunner("last", last{}, slog.New(slog.DiscardHandler))
	d.publish(silent(0))
	a := d.asker(t)
	if _, err := a.ask("www.example.net", "curl"); err != nil {
		t.Fatal(err)
	}
	asked := time.Now()
	p := page(t, ctx, browser(t), serveWeb(t, dir, nil))
	await(t, ctx, p, `document.querySelectorAll("#decisions-rows button").length === 1`)
	eval(t, ctx, p, `document.querySelector("#decisions-rows button").click()`, nil)
	says := func(words string) {
		t.Helper()
		await(t, ctx, p, `/`+words+`/.test(document.querySelector(".detail")?.innerText)`)
	}
	says(`wifi: how long it would take is not known: not measured yet, as mamma has seen no connection over it`)
	for second, rate := range []float64{0, 0, 1e6, 2e6} {
		list := silent(0)
		for i, p := range list {
			down := policy.BytesPerSecond(rate)
			if i == 1 && second == 0 { // the transfer that was decided about is over within its first second
				down = 3e6
			}
			p.Link = policy.LinkStats{Time: time.Now(), DownRate: down, DownSMA: down}
		}
		d.past.Note(&mam.View{Time: asked.Add(time.Duration(second+1) * time.Second), Prefixes: list}, nil)
		if rate > 0 {
			says(map[float64]string{1e6: `but since [\d:]+: up to 8\.0\sMbit.s seen over it, over lte up to 24\.0\sMbit`, 2e6: `up to 16\.0\sMbit.s seen over it, over lte up to 24\.0\sMbit`}[rate])
		}
	}
	var then string
	eval(t, ctx, p, `[...document.querySelectorAll(".figures tr.taken td")].map((c) => c.dataset.label + " " + c.innerText).join("; ")`, &then)
	if !contains(then, "Load then –; Most seen –") {
		t.Errorf("what came later is told as what was known: %s", then)
	}
	calm(t, p)
}
