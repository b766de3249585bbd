package decisionlog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/policy"
)

// record notes n decisions, each on a snapshot of its own, and returns the Recorder once
// they are written.
func record(t *testing.T, path string, size int64, first, n int) *Recorder {
	t.Helper()
	r := NewRecorder(path, size, nil)
	for i := range n {
		q := busy(first + i)
		r.Note("threshold", q, answerTo(q))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx); err != nil {
		t.Error(err)
	}
	return r
}

func entries(t *testing.T, path string) []*Entry {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []*Entry
	for in := NewReader(bytes.NewReader(b)); ; {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatalf("%s: %v", filepath.Base(path), err)
		}
		list = append(list, e)
	}
}

func TestRecorder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "decisions.jsonl")
	record(t, path, 1<<20, 0, 2)
	// The file ends as after a crash.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(`{"deci`)
		_ = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	record(t, path, 1<<20, 2, 1)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	in := NewReader(bytes.NewReader(b))
	got := ""
	for {
		e, err := in.Next()
		switch {
		case err == nil:
			got += e.Request.Now.Format("05.000 ")
			continue
		case errors.As(err, new(*LineError)):
			got += "torn "
			continue
		}
		break
	}
	if want := "05.679 05.779 torn 05.879 "; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// Transfers are recorded as well.
func TestRecorderTransfers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "decisions.jsonl")
	r := NewRecorder(path, 1<<20, nil)
	r.NoteTransfer("adaptive", &policy.Transfer{Token: 7, Bytes: 1000})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ended); err != nil {
		t.Error(err)
	}
	if list := entries(t, path); len(list) != 1 || list[0].Policy != "adaptive" || list[0].Transfer.Bytes != 1000 {
		t.Errorf("%+v", list)
	}
}

func TestRecorderBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "decisions.jsonl")
	const n = 200
	record(t, path, MinSize, 0, n)
	var total int64
	for _, name := range []string{path, path + ".1"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > MinSize || total < MinSize/2 {
		t.Errorf("%d bytes, bound %d", total, MinSize)
	}
	// Each part can be read without the other, and together they have the latest decisions.
	list := append(entries(t, path+".1"), entries(t, path)...)
	if len(list) < 10 || len(list) >= n {
		t.Fatalf("%d entries", len(list))
	}
	for i, e := range list {
		if want := busy(n - len(list) + i).Now; !e.Request.Now.Equal(want) {
			t.Errorf("entry %d is of %v, want %v", i, e.Request.Now, want)
		}
	}
}

func TestRecorderDrops(t *testing.T) {
	path := filepath.Join(t.TempDir(), "decisions.jsonl")
	if r := record(t, path, 1<<30, 0, queueLength+3); r.Dropped() != 3 {
		t.Errorf("dropped %d, want 3", r.Dropped())
	}
	if got := len(entries(t, path)); got != queueLength {
		t.Errorf("%d entries, want %d", got, queueLength)
	}
}

// The Recorder does not write to a file that others can read. One message says so.
func TestRecorderRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "decisions.jsonl")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	r := NewRecorder(path, 0, slog.New(slog.NewTextHandler(&log, nil)))
	for i := range 3 {
		q := busy(i)
		r.write(&noted{policy: "p", request: *q, decision: answerTo(q)})
	}
	if r.Dropped() != 3 || strings.Count(log.String(), "chmod 600") != 1 {
		t.Errorf("dropped %d\n%s", r.Dropped(), &log)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	q := busy(9)
	r.write(&noted{policy: "p", request: *q, decision: answerTo(q)})
	r.file.Close()
	if got := entries(t, path); len(got) != 1 {
		t.Errorf("%d entries", len(got))
	}
}

// Note copies the request, because the manager uses its memory again.
func TestNoteCopies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "decisions.jsonl")
	r := NewRecorder(path, 1<<20, nil)
	q := busy(0)
	q.Kind, q.Sockets = policy.SocketChoose, []policy.Socket{{FD: 5}, {FD: 6}}
	d := answerTo(q)
	d.Socket = &q.Sockets[1]
	r.Note("p", q, d)
	clear(q.Prefixes)
	q.Sockets[1].FD = 99
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = r.Run(ctx)
	got := entries(t, path)
	if len(got) != 1 || len(got[0].Request.Prefixes) != 4 || got[0].Decision.Socket == nil || got[0].Decision.Socket.FD != 6 {
		t.Errorf("%+v", got)
	}
}
