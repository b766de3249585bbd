package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/display/terminal"
	"github.com/socket-intents/mamma/internal/operator/decisionlog"
	"github.com/socket-intents/mamma/internal/operator/replay"
	"github.com/socket-intents/mamma/policy"
)

// A person at a terminal sees how far a replay is. The line disappears before the
// result is printed. Without a terminal there is no such line.
func TestReplayTellsHowFar(t *testing.T) {
	wlan := &policy.Prefix{ID: policy.PrefixID{Interface: "wlan0"}, Interface: "wlan0", Default: true}
	var e decisionlog.Encoder
	text, err := e.Append(nil, "threshold", &policy.Request{Kind: policy.Connect, Prefixes: []*policy.Prefix{wlan}, Now: now}, policy.Decision{})
	if err != nil {
		t.Fatal(err)
	}
	person, program := openTerminal(t)
	in, recording := io.Pipe()
	var out bytes.Buffer
	a := &app{in: in, out: &out, err: program, getenv: func(string) string { return "" }, location: time.UTC}
	ended := make(chan int, 1)
	go func() { ended <- a.run(t.Context(), []string{"replay", "-", "--policy", "sample"}) }()
	if _, err := recording.Write(text); err != nil {
		t.Fatal(err)
	}
	var seen []byte
	buf := make([]byte, 4096)
	read := func(marker string) {
		t.Helper()
		for !bytes.Contains(seen, []byte(marker)) {
			n, err := person.Read(buf)
			if err != nil {
				t.Fatalf("%v; seen: %q", err, seen)
			}
			seen = append(seen, buf[:n]...)
		}
	}
	read(terminal.EraseLine + "replaying: 1 decision\r\n")
	if err := recording.Close(); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != exitOK || !strings.Contains(out.String(), "1 decisions of threshold, replayed with sample") {
		t.Errorf("exit code %d\n%s", code, &out)
	}
	if _, err := io.WriteString(program, "the end"); err != nil {
		t.Fatal(err)
	}
	read("the end")
	if !bytes.HasSuffix(seen, []byte(terminal.CursorUp+terminal.EraseLine+"the end")) {
		t.Errorf("the line is still there: %q", seen)
	}
}

func TestReplayed(t *testing.T) {
	for want, p := range map[string]replay.Progress{
		"1 decision":         {Decisions: 1, Read: 100, Size: -1},
		"50 %, 7 decisions":  {Decisions: 7, Read: 100, Size: 200},
		"100 %, 0 decisions": {Read: 300, Size: 200}, // the file grows
	} {
		if got := replayed(p); got != want {
			t.Errorf("%+v: %q, want %q", p, got, want)
		}
	}
}
