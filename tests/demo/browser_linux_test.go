package main

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"context"

	"github.com/socket-intents/mamma/internal/placement"
	"github.com/socket-intents/mamma/internal/testing/chromium"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// said collects what was written so far. It is safe for concurrent use.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// A newcomer learns from the playground's page alone which network a download took,
// why, what the other network would have cost, and what happened when the network was
// taken away.
func TestPlaygroundPage(t *testing.T) {
	for _, program := range []string{"curl", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			testbed.SkipOrFail(t, fmt.Errorf("%w: needs the program %s", testbed.ErrUnavailable, program))
		}
	}
	if o, _ := placement.Probe("/proc/self/exe"); o != nil {
		testbed.SkipOrFail(t, fmt.Errorf("%w: programs cannot be placed here: %w", testbed.ErrUnavailable, o.Err))
	}
	b, err := chromium.Start(t.TempDir(), nil)
	if errors.Is(err, chromium.ErrUnavailable) {
		testbed.SkipOrFail(t, fmt.Errorf("%w: %w", testbed.ErrUnavailable, err))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	listener, err := listenHere()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	t.Setenv("SHELL", "/bin/sh")
	typing, keyboard := io.Pipe()
	var out, log said
	ended := make(chan error, 1)
	go func() { ended <- shell(ctx, t.TempDir(), "", listener, typing, &out, &log) }()
	defer func() {
		_ = keyboard.Close()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-ctx.Done():
			t.Error("the shell does not end")
		}
	}()
	link := ""
	err = await(ctx, "the link", func() bool {
		link = regexp.MustCompile(`http://127\.0\.0\.1:\d+/#\w+`).FindString(out.String())
		return link != "" || len(ended) > 0
	})
	if len(ended) > 0 {
		if err := <-ended; err != nil {
			ended <- nil
			testbed.SkipOrFail(t, err)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Open(ctx, link)
	if err != nil {
		t.Fatal(err)
	}
	sees := func(condition string) {
		t.Helper()
		if err := p.Await(ctx, condition); err != nil {
			var text string
			_ = p.Eval(context.WithoutCancel(ctx), "document.body.innerText", &text)
			t.Fatalf("%v\n%.4000s\n%s%s", err, text, &out, &log)
		}
	}
	types := func(format string, args ...any) { _, _ = fmt.Fprintf(keyboard, format+"\n", args...) }

	sees(`document.getElementById("trouble").innerText.includes("No mamma answers")`)
	types("mamma policy.conf >mamma.log 2>&1 &")
	sees(`document.getElementById("trouble").hidden && document.querySelectorAll(".card .badge.up").length === 2`)
	// A busy machine's program may not wait for the answer. So this repeats until there
	// is a decision.
	download := `while ! mammactl decisions --json --program mammactl --network %s | grep -q bulktransfer; do mammactl run --intents category=bulktransfer,filesize=3000000 -- curl -s -o /dev/null http://192.0.2.1/bytes/3000000; done`
	types(download, "lte")
	sees(`[...document.querySelectorAll("#decisions-rows tr")].some(r => r.innerText.includes("curl") && r.innerText.includes("lte"))`)
	described := `[...document.querySelectorAll("#decisions-rows tr")].find(r => r.innerText.includes("curl") && r.innerText.includes("lte")).querySelector("button")`
	if err := p.Eval(ctx, described+`.click()`, nil); err != nil {
		t.Fatal(err)
	}
	// Nothing went over the other network so far, and the page does not pretend to know.
	sees(`/wifi: how long it would take is not known: not measured yet, as mamma has seen no connection over it; the kernel has counted .* over it/.test(document.querySelector(".detail")?.innerText)`)
	if err := p.Press(ctx, "Escape"); err != nil {
		t.Fatal(err)
	}
	sees(`!document.querySelector(".detail")`)
	types("ip link set lte down")
	sees(`document.getElementById("decisions-rows").innerText.includes("lte has gone") || document.getElementById("decisions-rows").innerText.includes("lte is down")`)
	types(download, "wifi")
	sees(`[...document.querySelectorAll("#decisions-rows tr")].some(r => r.innerText.includes("curl") && r.innerText.includes("wifi"))`)
	if err := p.Eval(ctx, described+`.click()`, nil); err != nil {
		t.Fatal(err)
	}
	// Figures that were not measured yet are told later, when the network has taken
	// over.
	sees(`/not measured when it was decided, but since/.test(document.querySelector(".detail")?.innerText)`)
	var text string
	if err := p.Eval(ctx, `document.querySelector(".detail .answers").innerText`, &text); err != nil {
		t.Fatal(err)
	}
	t.Log(text)
	for question, answer := range map[string]string{
		"which network":             `Took\s+lte \(10\.64\.0\.0/10 on lte, from 10\.64\.3\.9\)`,
		"why":                       `Why\s+policy intents: prefix for category bulktransfer.*Stated of it: bulktransfer, 3\.0.MB, by “mammactl run”`,
		"what the other would cost": `The other\s+wifi: not measured when it was decided, but since \d\d:\d\d:\d\d: .*(bit/s seen over it|round trips of [\d.]+).*it is free, as lte is\.`,
		"how it went":               `How it went\s+It was connected over lte`,
		"what happened then":        `Since then\s+\d\d:\d\d:\d\d lte has gone\.\s+\d\d:\d\d:\d\d The next connection of curl to 192\.0\.2\.1:80 took wifi: no prefix for this category: default\.`,
	} {
		if !regexp.MustCompile(answer).MatchString(text) {
			t.Errorf("%s is not answered by %q:\n%s", question, answer, text)
		}
	}
	types("exit")
}
