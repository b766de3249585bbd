package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/socket-intents/mamma/client/httpintent"
	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/internal/display/terminal"
)

// The lines fit the terminal. Where it is narrow, what matters least is left out first, and how
// much is left to do stays.
func TestProgressFits(t *testing.T) {
	for _, tt := range []struct {
		output string
		width  int
		total  int64
		want   string
	}{
		{"image.iso", 80, 300e6, "image.iso   25 %  75.0 MB of 300 MB  200.0 Mbit/s  9.0 s left"},
		{"image.iso", 60, 300e6, "image.iso   25 %  200.0 Mbit/s  9.0 s left"},
		{"image.iso", 40, 300e6, "image.iso   25 %  9.0 s left"},
		{"image.iso", 20, 300e6, "image.iso   25 %"},
		{"/home/somebody/images/image.iso", 80, 300e6, "image.iso   25 %  75.0 MB of 300 MB  200.0 Mbit/s  9.0 s left"},
		{"/home/somebody/an-image-with-a-long-name.iso", 40, 300e6, "an-image-with-a-lon…   25 %  9.0 s left"},
		{"目录/文件文件文件文件文件.iso", 30, 300e6, "文件文件文件文件文件.…   25 %"},
		{"-", 40, -1, "(standard outpu…  75.0 MB  200.0 Mbit/s"},
		{"image.iso", 22, -1, "image.iso  75.0 MB"},
	} {
		begun := time.Unix(1000, 0)
		p := &progress{g: &getting{output: tt.output}, resp: &http.Response{}, total: tt.total, count: func() int64 { return 75e6 }, recent: []moment{{begun, 0}}}
		networks := []httpintent.NetworkProgress{{Name: "wifi", Bytes: 50e6, Rate: 2e7}, {Name: "a network with a long name", Bytes: 25e6, Rate: 1e7}, {Name: "lte", Failures: 1}}
		lines := p.text(begun.Add(3*time.Second), networks, tt.width)
		if lines[0] != tt.want {
			t.Errorf("%s in %d columns: %q, want %q", tt.output, tt.width, lines[0], tt.want)
		}
		for _, l := range lines {
			if n := table.Cells(l); n >= tt.width {
				t.Errorf("%d of %d columns: %q", n, tt.width, l)
			}
		}
	}
}

// A person at a terminal is told that the server has not answered yet. With -q nothing is told.
func TestGetTellsThatItWaits(t *testing.T) {
	asked, answer := make(chan struct{}, 2), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-answer
		_, _ = io.WriteString(w, "something")
	}))
	t.Cleanup(s.Close)
	goOn := sync.OnceFunc(func() { close(answer) })
	t.Cleanup(goOn) // before the server waits for its handlers
	person, program := openTerminal(t)
	a := &app{in: strings.NewReader(""), out: io.Discard, err: program, getenv: func(string) string { return "" }, location: time.UTC}
	ended := make(chan int, 1)
	go func() {
		ended <- a.run(t.Context(), []string{"get", "--socket", filepath.Join(t.TempDir(), "none"), "-o", filepath.Join(t.TempDir(), "file"), s.URL + "/file"})
	}()
	<-asked
	var seen []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(seen, []byte(terminal.EraseLine+"waiting for "+strings.TrimPrefix(s.URL, "http://")+", ")) {
		n, err := person.Read(buf)
		if err != nil {
			t.Fatalf("%v; seen: %q", err, seen)
		}
		seen = append(seen, buf[:n]...)
	}
	goOn()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
