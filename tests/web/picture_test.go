package web

import (
	"bytes"
	"context"
	"image"
	"image/png"
	"reflect"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/chromium"
)

// places are the rectangles of what must be seen: of each text of the page, and of each
// chart that has a line to draw.
const places = `new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))).then(() => {
	const out = [];
	const add = (kind, what, r) => out.push({ kind, what, x: Math.floor(r.left), y: Math.floor(r.top), right: Math.ceil(r.right), bottom: Math.ceil(r.bottom) });
	const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
	for (let n; n = walker.nextNode();) {
		const e = n.parentElement;
		if (n.data.trim() === "" || e.closest(".unseen, [hidden], datalist, noscript, option") || e.getClientRects().length === 0) continue;
		const range = document.createRange();
		range.selectNodeContents(n);
		const r = [...range.getClientRects()].reduce((a, b) => (b.width * b.height > a.width * a.height ? b : a)); // of its lines
		const box = e.closest(".scroll")?.getBoundingClientRect();
		if (box && (r.left >= box.right || r.right <= box.left)) continue; // the reader can scroll to it
		add("text", n.data.trim(), r);
	}
	for (const s of document.querySelectorAll("svg")) {
		if ([...s.querySelectorAll("path.line")].some((p) => (p.getAttribute("d") ?? "") !== "")) add("line", s.getAttribute("aria-label"), s.getBoundingClientRect());
	}
	return out;
})`

type place struct {
	Kind, What          string
	X, Y, Right, Bottom int
}

// without are the rules that take away what is drawn of each kind, and leave all else in
// its place.
var without = map[string]string{
	"text": `main, main * { -webkit-text-fill-color: transparent !important; }`,
	"line": `path.line { stroke: transparent !important; }`,
}

// An element with a place in the page may still not be seen: something lies on it, it
// has the colour of the ground, or it is not drawn. The geometry of the layout tells
// nothing of that. So the picture of the page is compared with those of the same page
// without its texts, and without the lines of its charts. They differ wherever one of
// these is.
//
// Pictures that were made before are not kept to compare with. The fonts and the version of
// Chromium are those of the machine, and each of its versions draws letters a little
// otherwise. A tolerance that bears this would also bear a line of text that is missing.
func TestPictures(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience) // pictures take long on a busy machine
	defer cancel()
	dir := t.TempDir()
	d := startDaemon(t, dir, two, "shortest predicted time (2.5 s)")
	a := d.asker(t)
	for _, host := range []string{"download.example.net", "api.example.net"} {
		if _, err := a.ask(host, "curl"); err != nil {
			t.Fatal(err)
		}
	}
	p := page(t, ctx, browser(t), serveWeb(t, dir, nil))
	await(t, ctx, p, `document.querySelectorAll("#decisions-rows button").length === 2 && [...document.querySelectorAll(".card .line.rtt")].every(e => e.getAttribute("d").length > 500)`)
	eval(t, ctx, p, `document.querySelector("#decisions-rows button").click()`, nil)
	await(t, ctx, p, `document.querySelector(".detail") && document.getElementById("multipath-list").innerText.includes("www.example.net")`)
	// Of styles the page's policy permits only its own, and those that scripts construct.
	eval(t, ctx, p, `window.rules = new CSSStyleSheet(); document.adoptedStyleSheets = [rules]; document.activeElement.blur()`, nil)
	for _, state := range []struct {
		name          string
		width, height int
		dark          bool
	}{{"light", 1280, 2400, false}, {"dark", 1280, 2400, true}, {"phone", 390, 4200, false}} {
		show(t, ctx, p, state.width, state.height, state.dark)
		all, pictures := takePictures(t, ctx, p)
		kinds := map[string]int{}
		for _, w := range all {
			kinds[w.Kind]++
			switch {
			case !image.Rect(w.X, w.Y, w.Right, w.Bottom).Overlaps(pictures[""].Bounds()):
				t.Errorf("%s: the %s %.40q at %d, %d is not in the picture of %v", state.name, w.Kind, w.What, w.X, w.Y, pictures[""].Bounds().Max)
			case !differ(pictures[""], pictures[w.Kind], w):
				t.Errorf("%s: the %s %.40q at %d, %d is not seen", state.name, w.Kind, w.What, w.X, w.Y)
			}
		}
		if kinds["text"] < 50 || kinds["line"] != 5 {
			t.Errorf("%s: only %v were looked at", state.name, kinds)
		}
	}
	// The comparison finds what it is for.
	eval(t, ctx, p, `const covered = new CSSStyleSheet(); covered.replaceSync(".card h3 { color: transparent; } .card svg { opacity: 0; }"); document.adoptedStyleSheets.push(covered)`, nil)
	var lost []string
	all, pictures := takePictures(t, ctx, p)
	for _, w := range all {
		if !differ(pictures[""], pictures[w.Kind], w) {
			lost = append(lost, w.Kind)
		}
	}
	if want := []string{"text", "text", "line", "line", "line", "line", "line"}; !reflect.DeepEqual(lost, want) {
		t.Errorf("of what was made unseen %v was found, want %v", lost, want)
	}
	calm(t, p)
}

// show shows the page in a window that is at least that high, and as high as the page is
// with the fonts of this machine.
func show(t *testing.T, ctx context.Context, p *chromium.Page, width, height int, dark bool) {
	t.Helper()
	if err := p.Show(ctx, width, height, dark); err != nil {
		t.Fatal(err)
	}
	var whole int
	if eval(t, ctx, p, `document.documentElement.scrollHeight`, &whole); whole > height {
		if err := p.Show(ctx, width, whole, dark); err != nil {
			t.Fatal(err)
		}
	}
}

// takePictures returns the places, and a picture of the page as it is and without each
// kind. The page goes on meanwhile, so this repeats until the places stayed where they are.
func takePictures(t *testing.T, ctx context.Context, p *chromium.Page) ([]place, map[string]image.Image) {
	t.Helper()
	for {
		var before, after []place
		eval(t, ctx, p, places, &before)
		pictures := map[string]image.Image{"": picture(t, ctx, p)}
		for kind, rule := range without {
			eval(t, ctx, p, "rules.replaceSync(`"+rule+"`)", nil)
			pictures[kind] = picture(t, ctx, p)
			eval(t, ctx, p, "rules.replaceSync('')", nil)
		}
		eval(t, ctx, p, places, &after)
		for i := range min(len(before), len(after)) {
			after[i].What = before[i].What // a figure may be another one
		}
		if reflect.DeepEqual(before, after) {
			return after, pictures
		}
	}
}

func picture(t *testing.T, ctx context.Context, p *chromium.Page) image.Image {
	t.Helper()
	raw, err := p.Screenshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// differ tells whether two pictures differ at a place by more than what rounding does.
func differ(a, b image.Image, at place) bool {
	for y := at.Y; y < at.Bottom; y++ {
		for x := at.X; x < at.Right; x++ {
			r, g, u, _ := a.At(x, y).RGBA()
			r2, g2, u2, _ := b.At(x, y).RGBA()
			if max(r, r2)-min(r, r2) > 0x2000 || max(g, g2)-min(g, g2) > 0x2000 || max(u, u2)-min(u, u2) > 0x2000 {
				return true
			}
		}
	}
	return false
}
