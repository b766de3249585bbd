package web

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/chromium"
	"github.com/socket-intents/mamma/policy"
)

// overflow lists the elements that stick out of the window, and those that scroll sideways
// without being meant to.
const overflow = `(() => {
	const out = [], wide = document.documentElement.clientWidth;
	if (document.documentElement.scrollWidth > wide) out.push("the page is " + document.documentElement.scrollWidth + " wide");
	for (const e of document.body.querySelectorAll("*")) {
		if (e.closest(".scroll, nav, .unseen, .skip, svg, [hidden], datalist, select")) continue;
		const r = e.getBoundingClientRect();
		if (r.width > 0 && (r.right > wide + 1 || r.left < -1)) out.push(e.tagName + "." + e.className + "#" + e.id + " from " + r.left + " to " + r.right);
	}
	for (const e of document.querySelectorAll(".scroll")) if (e.scrollWidth > e.clientWidth + 1 && wide <= 736) out.push("a table scrolls at " + wide);
	return out;
})()`

// fits looks at the page in three widths (640 is what 200 % leave of 1280), in light and
// dark, and saves pictures if they are wanted.
func fits(t *testing.T, ctx context.Context, p *chromium.Page, name string) {
	t.Helper()
	for _, width := range []int{320, 640, 1440} {
		for _, dark := range []bool{false, true} {
			if err := p.Show(ctx, width, 900, dark); err != nil {
				t.Fatal(err)
			}
			var out, amiss []string
			eval(t, ctx, p, `new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))).then(() => `+overflow+`)`, &out)
			eval(t, ctx, p, layout, &amiss)
			out = append(out, amiss...)
			for _, o := range out {
				t.Errorf("%s at %d: %s", name, width, o)
			}
			if dir := os.Getenv("MAMMA_PICTURES"); dir != "" {
				for i, at := range []string{"0", "document.getElementById('decisions').offsetTop - 100", "document.body.scrollHeight"} {
					eval(t, ctx, p, "document.documentElement.style.scrollBehavior = 'auto'; scrollTo(0, "+at+"); new Promise(done => setTimeout(done, 300))", nil)
					b, err := p.Screenshot(ctx)
					if err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d-%v-%d.png", name, width, dark, i)), b, 0o666); err != nil {
						t.Fatal(err)
					}
				}
				eval(t, ctx, p, "scrollTo(0, 0)", nil)
			}
		}
	}
}

// Somebody who sees only the page finds out which network was chosen, why, what the other
// would have cost, and what happened when it had gone.
func TestPage(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	d := startDaemon(t, dir, two, "shortest predicted time (2.5 s)")
	a := d.asker(t)
	if _, err := a.ask("download.example.net", "curl"); err != nil {
		t.Fatal(err)
	}
	b, link := browser(t), serveWeb(t, dir, nil)
	p := page(t, ctx, b, link)
	await(t, ctx, p, `document.querySelectorAll("#cards .card").length === 2 && document.querySelectorAll("#decisions-rows tr").length >= 1`)
	await(t, ctx, p, `[...document.querySelectorAll(".card .line.rtt")].every(e => e.getAttribute("d").length > 500)`)
	var hash string
	eval(t, ctx, p, "location.href", &hash)
	if len(hash) > 40 {
		t.Errorf("the token stays in the address: %s", hash)
	}
	// The page goes on live: a decision comes, and a network is pulled.
	if _, err := a.ask("api.example.net", "wget"); err != nil {
		t.Fatal(err)
	}
	await(t, ctx, p, `document.getElementById("decisions-rows").innerText.includes("api.example.net:443")`)
	d.publish(two(541)[:1])
	await(t, ctx, p, `document.getElementById("decisions-rows").innerText.includes("lte has gone") && document.querySelector(".card.gone h3")?.innerText === "lte"`)
	eval(t, ctx, p, `[...document.querySelectorAll("#decisions-rows button")].find(b => b.innerText.startsWith("download.example.net")).click()`, nil)
	await(t, ctx, p, `document.querySelector(".detail")`)
	var text string
	eval(t, ctx, p, `document.querySelector(".detail").innerText`, &text)
	for _, want := range []string{"lte", "10.64.0.0/10 on wwan0", "fastest: shortest predicted time (2.5 s)", "wifi: predicted to take 5.0 s, 2.5 s longer", "it is free, where lte is metered", "lte has gone", "20 ms", "16.0 Mbit/s"} {
		if !contains(text, want) {
			t.Errorf("the description does not say %q:\n%s", want, text)
		}
	}
	var panels string
	await(t, ctx, p, `document.getElementById("multipath-list").innerText.includes("www.example.net") && document.getElementById("programs-list").innerText.includes("wget")`)
	eval(t, ctx, p, `document.getElementById("doctor-run").click()`, nil)
	await(t, ctx, p, `document.querySelectorAll("#doctor-list .copy").length === 2`)
	eval(t, ctx, p, `document.querySelector("main").innerText`, &panels)
	for _, want := range []string{"wget via", "↳ wwan0 from 10.64.3.9:40001", "backup", "replies would leave by wlan0", "ip rule add from 10.64.3.9"} {
		if !contains(panels, want) {
			t.Errorf("the page does not say %q:\n%s", want, panels)
		}
	}
	fits(t, ctx, p, "two")
	calm(t, p)

	// A page that is opened later shows what happened before, in its place.
	late := page(t, ctx, b, link)
	await(t, ctx, late, `/lte has gone[^]*api\.example\.net[^]*download\.example\.net/.test(document.getElementById("decisions-rows").innerText)`)
	calm(t, late)
}

// The page tells about scopes how to have one, what each matches and has done, which connections
// its rules tell apart, what it has learnt, and what is wrong.
func TestScopes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	d := startDaemon(t, dir, two, "")
	p := page(t, ctx, browser(t), serveWeb(t, dir, nil))
	says := func(words string) {
		t.Helper()
		await(t, ctx, p, fmt.Sprintf(`document.getElementById("scopes-list").innerText.replace(/\s+/g, " ").includes(%q)`, words))
	}
	says(`No scope is configured`)
	says(`unit = "backup.service"`)
	known := func(s string) *string { return &s }
	lte := &control.PrefixRef{Prefix: "10.64.0.0/10", Name: known("lte"), Interface: "wwan0", Address: "10.64.3.9"}
	state := control.Scopes{
		Root: known("/sys/fs/cgroup"), Hooks: []string{"connect4", "connect6"}, Kept: true, Groups: 41, Scopes: []control.Scope{{
			Name: "backup", Units: []string{"backup.service"}, Groups: []string{"/system.slice/backup.service", "/a", "/b"}, Placed: 1234, Left: 5, Refused: 6, Failed: 7,
			Usual:    []control.ScopeAnswer{{Family: "IPv4", Transport: "stream", Kind: "place", Chosen: lte}, {Family: "IPv6", Transport: "stream", Kind: "leave"}},
			Learning: true, Learnt: 2, Variants: []control.ScopeVariant{
				{Source: "rule <i>mirror", Usual: []control.ScopeAnswer{{Family: "IPv4", Transport: "stream", Kind: "place", Chosen: lte}, {Family: "IPv6", Transport: "stream", Kind: "place", Chosen: lte}}},
				{Source: "ports 22, 23", Usual: []control.ScopeAnswer{{Family: "IPv4", Transport: "stream", Kind: "refuse"}, {Family: "IPv6", Transport: "stream", Kind: "leave"}}},
			},
		}, {Name: "others", Usual: []control.ScopeAnswer{{Family: "IPv4", Transport: "stream", Kind: "refuse"}, {Family: "IPv6", Transport: "stream", Kind: "refuse"}}}},
	}
	d.scopes.Store(&state)
	says("backup unit backup.service /system.slice/backup.service, /a and 1 more IPv4 lte, IPv6 left to the kernel rule <i>mirror: lte ports 22, 23: IPv4 refused, IPv6 left to the kernel learnt for 2 destinations 1 234 5 6 7")
	says("others all that no other scope is about none yet refused 0 0 0 0")
	says("Attached to connect4, connect6 for 41 control groups below /sys/fs/cgroup.")
	says("Not bound are those")
	fits(t, ctx, p, "scopes")
	amiss := state // the first one is the server's
	amiss.Hooks, amiss.Unseen, amiss.Error = nil, 3, known("no CAP_BPF <b>")
	d.scopes.Store(&amiss)
	says("Not as it should be: no CAP_BPF <b>")
	says("Nothing is attached to the kernel, so that nothing is placed.")
	says("3 connections came too fast")
	calm(t, p)
}

// The description is also true for decisions that chose no network.
func TestDescribe(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	startDaemon(t, dir, two, "")
	p := page(t, ctx, browser(t), serveWeb(t, dir, nil))
	var got struct {
		Texts []string
	}
	eval(t, ctx, p, `import("/detail.js").then(({ describe, tookWords }) => {
		const at = (s) => new Date(1e12 + s * 1000).toISOString();
		const lte = { prefix: "10.64.0.0/10", interface: "wwan0", name: "lte" };
		const n = { prefix: lte, name: "lte", gone: false };
		const networks = { byKey: new Map([["10.64.0.0/10%wwan0", n]]), list: () => [n], changes: new Map([[7, { ...lte, seq: 7, time: at(1), change: "removed" }]]),
			at: () => ({ rtt: 40, there: true }), after: () => null };
		const d = (more) => ({ seq: 1, time: at(0), app: { command: "curl", uid: 0 }, host: "a", service: "80", reason: "because", took_ms: 1, chosen: null, alternates: [], scores: [], leased: 0, ...more });
		const texts = [d({}), d({ bound: "192.0.2.7", chosen: lte }), d({ chosen: lte, outcome: { candidate: -1, errno: 0, took_ms: 5 } }), d({ chosen: lte }),
			d({ bound: "192.0.2.7", chosen: lte, outcome: { candidate: 0, errno: 0, took_ms: 5 } }), d({ bound: "192.0.2.7", chosen: lte, outcome: { candidate: 0, errno: 111, error: "refused", took_ms: 0.4 } })]
			.map((x) => describe(x, networks, [{ decision: d({ seq: 2, time: at(2), refused: true }) }]).textContent);
		const silent = { ...networks, at: () => ({ there: true }) }, up = { decision: d({ seq: 5, chosen: lte, outcome: { candidate: 0, errno: 0, took_ms: 12 } }) };
		return { texts: [...texts, tookWords(d({ refused: true })), describe(d({}), silent, [up]).textContent] };
	})`, &got)
	if len(got.Texts) != 8 {
		t.Fatalf("%d texts", len(got.Texts))
	}
	begun := time.UnixMilli(1e12).Format(time.TimeOnly) // the browser's zone is this host's
	for i, want := range []string{
		"what the kernel chooses: there was no preference.", "what the program had bound it to, 192.0.2.7.", "what the kernel chooses, not lte.",
		"The next connection of curl to a:80 took no network: the connection is refused: because.",
		"It was connected from 192.0.2.7, as the program had bound it, in 5.0 ms.", "The connection from 192.0.2.7, as the program had bound it, failed after less than 1 ms: refused.",
		"no network: the connection is refused",
		"lte: how long it would take is not known: not measured yet, as mamma has seen no transfer over it that lasted long enough; at " + begun + " curl was connected over it to a:80 in 12 ms",
	} {
		if !contains(got.Texts[i], want) {
			t.Errorf("not told: %q in %q", want, got.Texts[i])
		}
		if i < 3 && (!contains(got.Texts[i], "lte: round trips of 40 ms") || contains(got.Texts[i], "not measured")) {
			t.Errorf("what was measured is not told: %q", got.Texts[i])
		}
	}
	for _, text := range got.Texts[4:6] {
		if contains(text, "over lte") {
			t.Errorf("a socket that was bound is told to have taken what was suggested: %q", text)
		}
	}
	calm(t, p)
}

func TestNoNetworks(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	startDaemon(t, dir, func(int) []*policy.Prefix { return nil }, "")
	p := page(t, ctx, browser(t), serveWeb(t, dir, nil))
	await(t, ctx, p, `document.getElementById("networks-more").innerText.includes("manages no network") && document.getElementById("summary").innerText.includes("policy fastest")`)
	await(t, ctx, p, `document.getElementById("budgets-list").innerText.includes("No network has a budget")`)
	fits(t, ctx, p, "none")
	calm(t, p)
}
