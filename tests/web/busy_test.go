package web

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// Whatever names interfaces, programs, hosts and policies have, the page shows them as
// text. Nothing in them is run, loaded or made into an element, and nothing changes the
// direction of writing.
func TestHostileNames(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const markup = `<img src=x onerror="window.hurt=1"><script>window.hurt=2</script><b class=made>` + "\u202e\u200b\x1b[2J" + `&lt;`
	dir := t.TempDir()
	networks := func(second int) []*policy.Prefix {
		list := two(second)
		list[0].Name, list[1].Interface = markup, `"><svg onload=hurt=3>`
		list[1].Health = policy.Health{State: policy.Down, Reason: markup}
		list[0].Options = policy.Options{}
		return list
	}
	d := startDaemon(t, dir, networks, markup)
	a := d.asker(t)
	// For a name that no host can have, the page says so. The names of others are shown as
	// they are.
	if _, err := a.ask(`x"onmouseover=hurt=4.example`, markup[:60]); err != nil {
		t.Fatal(err)
	}
	p := page(t, ctx, browser(t), serveWeb(t, dir, nil))
	await(t, ctx, p, `document.querySelectorAll("#decisions-rows button").length === 1 && document.querySelectorAll(".card").length === 2`)
	eval(t, ctx, p, `document.querySelector("#decisions-rows button").click()`, nil)
	await(t, ctx, p, `document.querySelector(".detail")`)
	await(t, ctx, p, `document.getElementById("programs-list").innerText.includes("img")`)
	// The name can be seen as it is.
	await(t, ctx, p, `document.querySelector(".card h3").textContent.includes('<img src=x onerror="window.hurt=1">') && document.querySelector(".detail").textContent.includes("&lt;")`)
	var made []string
	eval(t, ctx, p, `[...document.querySelectorAll("img, script:not([src]), .made, svg[onload], [onmouseover], [onerror], iframe")].map(e => e.outerHTML)`, &made)
	if len(made) > 0 {
		t.Errorf("markup was made: %q", made)
	}
	var hurt, turned bool
	eval(t, ctx, p, `"hurt" in window`, &hurt)
	eval(t, ctx, p, `/[\u202e\u200b\u001b]/.test(document.body.textContent)`, &turned)
	if hurt || turned {
		t.Errorf("a script ran: %v; what is not seen is left: %v", hurt, turned)
	}
	// If the page itself made a mistake, the browser would refuse.
	var refused bool
	eval(t, ctx, p, `(() => { try { document.createElement("p").innerHTML = "<b>"; return false } catch (e) { return e instanceof TypeError } })()`, &refused)
	if !refused {
		t.Error("text can be made markup")
	}
	var complaints []string
	for _, c := range p.Complaints() {
		if !strings.Contains(c, "TrustedHTML") && !strings.Contains(c, "require-trusted-types-for") {
			complaints = append(complaints, c)
		}
	}
	if len(complaints) > 0 {
		t.Errorf("the browser complains: %q", complaints)
	}
	fits(t, ctx, p, "hostile")
}

// Three hundred networks make the page neither wide nor slow.
func TestThreeHundredNetworks(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	startDaemon(t, dir, func(second int) []*policy.Prefix {
		var list []*policy.Prefix
		for i := range 300 {
			list = append(list, network(i, fmt.Sprintf("wg%d", i), fmt.Sprintf("tunnel-to-the-branch-office-%d", i), fmt.Sprintf("10.%d.%d.2/24", i/250, i%250), second))
		}
		return list
	}, "one of many")
	p := page(t, ctx, browser(t), serveWeb(t, dir, nil))
	await(t, ctx, p, `document.querySelectorAll(".card").length === 24 && document.getElementById("networks-more").innerText.includes("276 networks more")`)
	await(t, ctx, p, `document.querySelector(".card .line.rtt").getAttribute("d").length > 500`)
	fits(t, ctx, p, "many")
	eval(t, ctx, p, `(() => { const f = document.getElementById("networks-filter"); f.value = "office-299"; f.dispatchEvent(new Event("input")) })()`, nil)
	await(t, ctx, p, `document.querySelectorAll(".card").length === 1 && document.querySelector(".card h3").innerText.endsWith("-299")`)
	calm(t, p)
}

// With a thousand decisions a second, the page can be used. The page bounds what it
// keeps and shows, and goes on reacting.
func TestThousandDecisions(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	d := startDaemon(t, dir, two, "fast")
	p := page(t, ctx, browser(t), serveWeb(t, dir, nil))
	await(t, ctx, p, `document.querySelectorAll(".card").length === 2`)
	ask := d.asker(t)
	const seconds, each = 8, 1000
	var worst float64
	for s := range seconds {
		begun := time.Now()
		for i := range each {
			if _, err := ask.ask(fmt.Sprintf("h%d.example.net", i%50), fmt.Sprintf("program%d", i%7)); err != nil {
				t.Fatal(err)
			}
			if i%50 == 49 {
				time.Sleep(time.Until(begun.Add(time.Duration(i) * time.Second / each)))
			}
		}
		// This is how long the page takes to react while it is busy.
		var ms float64
		eval(t, ctx, p, `new Promise(done => { const t = performance.now(); requestAnimationFrame(() => done(performance.now() - t)) })`, &ms)
		worst = max(worst, ms)
		if s == 2 {
			eval(t, ctx, p, `(() => { const f = document.getElementById("filter-program"); f.value = "program3"; f.dispatchEvent(new Event("input")) })()`, nil)
		}
	}
	t.Logf("the slowest answer took %.0f ms", worst)
	if _, err := ask.ask("last.example.net", "program3"); err != nil {
		t.Fatal(err)
	}
	await(t, ctx, p, `document.querySelector("#decisions-rows tr").innerText.includes("last.example.net")`)
	var rows, others int
	eval(t, ctx, p, `document.querySelectorAll("#decisions-rows tr").length`, &rows)
	eval(t, ctx, p, `[...document.querySelectorAll("#decisions-rows tr")].filter(r => !r.innerText.includes("program3")).length`, &others)
	if rows == 0 || rows > 50 || others > 0 {
		t.Errorf("%d rows, %d of them of other programs", rows, others)
	}
	// Whatever is filtered for, the page still has all entries that it keeps. All of them
	// are shown, and counted.
	eval(t, ctx, p, `(() => { const f = document.getElementById("filter-program"); f.value = ""; f.dispatchEvent(new Event("input")) })()`, nil)
	for range 40 {
		eval(t, ctx, p, `document.getElementById("older").click()`, nil)
	}
	await(t, ctx, p, `document.getElementById("older").hidden`)
	eval(t, ctx, p, `document.querySelectorAll("#decisions-rows tr").length`, &rows)
	if rows < 500 || rows > 1200 {
		t.Errorf("%d rows are kept", rows)
	}
	calm(t, p)
}

// The page sees by itself that a daemon goes, and that another one comes. It does not
// mistake the decisions of one for those of the other.
func TestGoneAndBack(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	first := startDaemon(t, dir, two, "the first")
	a := first.asker(t)
	for range 5 {
		if _, err := a.ask("first.example.net", "curl"); err != nil {
			t.Fatal(err)
		}
	}
	p := page(t, ctx, browser(t), serveWeb(t, dir, nil))
	await(t, ctx, p, `document.querySelectorAll("#decisions-rows tr").length === 5`)
	first.stop()
	await(t, ctx, p, `!document.getElementById("trouble").hidden && document.getElementById("trouble").innerText.includes("No mamma answers")`)
	fits(t, ctx, p, "gone")
	second := startDaemon(t, dir, two, "the second")
	answer, err := second.asker(t).ask("second.example.net", "curl")
	if err != nil {
		t.Fatal(err)
	}
	await(t, ctx, p, `document.getElementById("trouble").hidden && document.getElementById("decisions-rows").innerText.includes("second.example.net")`)
	var text string
	eval(t, ctx, p, `document.getElementById("decisions-rows").innerText`, &text)
	if strings.Contains(text, "first.example.net") {
		t.Errorf("what the first daemon decided is left:\n%s", text)
	}
	// The page follows the new daemon: the outcome changes the line that is there.
	report := wire.Message{Action: wire.ActionReportRequest, HasAction: true, DecisionID: answer.DecisionID, Features: wire.FeatureReports,
		Outcome: &wire.Outcome{Candidate: 1, Milliseconds: 250}}
	if _, err := second.asker(t).exchange(report); err != nil {
		t.Fatal(err)
	}
	await(t, ctx, p, `/it was connected over wifi instead, after 250\sms/.test(document.getElementById("decisions-rows").innerText)`)
}
