package hook

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/scopes/pins"
	"github.com/socket-intents/mamma/internal/testing/groupbed"
)

// The programs outlive their process, are replaced without a gap, and end on request. The
// directory belongs to one process at a time.
func TestPins(t *testing.T) {
	s := newScene(t, true)
	s.attachment.Close()
	fs, _ := groupbed.BPF(t)
	dir := fs + "/mamma"
	a, err := s.table.Attach(s.root.Path, dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.table.Attach(s.root.Path, dir, false); !errors.Is(err, pins.ErrInUse) {
		t.Errorf("a second one: %v", err)
	}
	if _, err := pins.Detach(dir); !errors.Is(err, pins.ErrInUse) {
		t.Errorf("detach while in use: %v", err)
	}
	s.put(t, s.root, 1, false)
	s.use(t, 1, s.b, false, false)
	m := startMember(t, s.bed.Client, s.root.Sub("one"))
	a.Close()
	s.table.Close()
	if got := m.dial("tcp", web4); got != s.b.Client4.String() {
		t.Errorf("after the process: from %s", got)
	}
	next := loadForTest(t, s.bed.Client)
	a, err = next.Attach(s.root.Path, dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.dial("tcp", web4); got != s.a.Client4.String() {
		t.Errorf("with a new, empty table: from %s", got)
	}
	a.Close()
	if found, err := pins.Detach(dir); !found || err != nil {
		t.Errorf("detach: %v, %v", found, err)
	}
	if found, err := pins.Detach(dir); found || err != nil {
		t.Errorf("detach once more: %v, %v", found, err)
	}
}

// Others cannot open the directory of the links, or they could lock it.
func TestPinsAreClosedToReaders(t *testing.T) {
	fs, _ := groupbed.BPF(t)
	dir := fs + "/read"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := pins.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// A directory in another file system, or one that others can write to, is not used for
// links.
func TestBadPins(t *testing.T) {
	s := newScene(t, true)
	fs, _ := groupbed.BPF(t)
	open := fs + "/open"
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	elsewhere, good, link, given := t.TempDir()+"/mamma", fs+"/good", fs+"/link", fs+"/given"
	if err := errors.Join(os.Mkdir(good, 0o700), os.Symlink(good, link), os.Mkdir(given, 0o700), os.Chown(given, 4711, -1)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{elsewhere, open, link, given, fs + "/no/such"} {
		if _, err := s.table.Attach(s.root.Path, dir, false); !errors.Is(err, pins.ErrUnusable) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if _, err := os.Stat(elsewhere); err == nil {
		t.Error("an empty directory is left behind")
	}
	if _, err := s.table.Attach(t.TempDir(), "", false); !errors.Is(err, ErrUnsupported) {
		t.Errorf("no control group: %v", err)
	}
}

// Of records that follow each other fast only the first one wakes the reader. It reads all
// of them, also if it waits meanwhile.
func TestRecordsThatDoNotWake(t *testing.T) {
	s := newScene(t, true)
	s.put(t, s.root, 1, false)
	s.use(t, 1, s.b, false, false)
	m := startMember(t, s.bed.Client, s.root.Sub("one"))
	const many = 200
	got := make(chan netip.AddrPort, many)
	go func() {
		defer close(got)
		for range many {
			e, err := s.table.Read()
			if err != nil {
				return
			}
			got <- e.Remote
		}
	}()
	for i := range many {
		m.dial("udp", fmt.Sprintf("192.0.2.1:%d", 1000+i))
	}
	patience := time.AfterFunc(30*time.Second, s.table.Stop)
	defer patience.Stop()
	for i := range many {
		if at := <-got; at.Port() != uint16(1000+i) {
			t.Fatalf("record %d is about %v", i, at)
		}
	}
}

// Stop ends a Read that waits.
func TestStop(t *testing.T) {
	s := newScene(t, true)
	done := make(chan error, 1)
	go func() {
		_, err := s.table.Read()
		done <- err
	}()
	s.put(t, s.root, 1, false)
	s.use(t, 1, s.b, false, false)
	startMember(t, s.bed.Client, s.root.Sub("one")).dial("tcp", web4)
	if err := <-done; err != nil { // it reads, so the next one waits
		t.Fatal(err)
	}
	go func() {
		_, err := s.table.Read()
		done <- err
	}()
	s.table.Stop()
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v", err)
	}
}
