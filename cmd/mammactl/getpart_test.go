package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client/httpintent"
)

// leavePart writes a part of the shelf's file, which has these ranges, as an earlier
// attempt at the URL leaves it.
func leavePart(t *testing.T, s *shelf, file, url string, ranges ...httpintent.Range) {
	t.Helper()
	part := make([]byte, len(s.data))
	for _, r := range ranges {
		copy(part[r.From:r.To], s.data[r.From:r.To])
	}
	state, err := json.Marshal(partState{URL: url, Final: url, Validator: `"one"`, Size: int64(len(part)), Ranges: ranges})
	if err := errors.Join(err, os.WriteFile(file+".part", part, 0o600), os.WriteFile(file+".part.json", state, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func keptState(t *testing.T, file string) (s partState) {
	t.Helper()
	b, err := os.ReadFile(file + ".part.json")
	if err := errors.Join(err, json.Unmarshal(b, &s)); err != nil {
		t.Fatal(err)
	}
	return s
}

// Over one network, too, what is at the end is not fetched again. It is kept if that
// attempt is interrupted.
func TestGetResumesGap(t *testing.T) {
	s := startShelf(t, 4_000_000, false)
	file := filepath.Join(t.TempDir(), "got")
	url := s.URL + "/file.bin"
	leavePart(t, s, file, url, httpintent.Range{From: 0, To: 1_000_000}, httpintent.Range{From: 3_000_000, To: 4_000_000})
	s.limit.Store(500_000)
	args := []string{"get", "--json", "--socket", "/nonexistent", "-o", file, url}
	if code, _, errs := mammactl(t.Context(), "", args...); code != exitPartial || !strings.Contains(errs, "goes on from there") {
		t.Fatalf("code %d: %s", code, errs)
	}
	kept := keptState(t, file)
	if n := len(kept.Ranges); n != 2 || kept.Ranges[0].To <= 1_000_000 || kept.Ranges[1] != (httpintent.Range{From: 3_000_000, To: 4_000_000}) {
		t.Errorf("kept %v", kept.Ranges)
	}
	s.limit.Store(0)
	code, out, errs := mammactl(t.Context(), "", args...)
	if got, err := os.ReadFile(file); code != exitOK || err != nil || !bytes.Equal(got, s.data) {
		t.Fatalf("code %d, %d bytes, %v: %s", code, len(got), err, errs)
	}
	var r gotten
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if want := 3_000_000 - kept.Ranges[0].To; r.Fetched != want || r.Size != 4_000_000 {
		t.Errorf("fetched %d of %d, want %d", r.Fetched, r.Size, want)
	}
}

// A server that refuses ranges by now gives the whole file.
func TestGetResumesRefused(t *testing.T) {
	s := startShelf(t, 4000, false)
	for _, status := range []int{http.StatusForbidden, http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable, http.StatusServiceUnavailable} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(status)
				return
			}
			_, _ = w.Write(s.data)
		}))
		file := filepath.Join(t.TempDir(), "got")
		leavePart(t, s, file, web.URL+"/file", httpintent.Range{From: 0, To: 1000})
		code, _, errs := mammactl(t.Context(), "", "get", "--socket", "/nonexistent", "-o", file, web.URL+"/file")
		web.Close()
		if status == http.StatusServiceUnavailable {
			if kept := keptState(t, file); code != exitStatus || kept.bytes() != 1000 {
				t.Errorf("%d: code %d, kept %v: %s", status, code, kept.Ranges, errs)
			}
		} else if got, err := os.ReadFile(file); code != exitOK || err != nil || !bytes.Equal(got, s.data) {
			t.Errorf("%d: code %d, %d bytes, %v: %s", status, code, len(got), err, errs)
		}
	}
}

// A part of another URL is overwritten only if the user wants that.
func TestGetLeavesPartOfAnotherURL(t *testing.T) {
	s := startShelf(t, 4000, false)
	file := filepath.Join(t.TempDir(), "got")
	leavePart(t, s, file, "http://other.test/large.iso", httpintent.Range{From: 0, To: 1000})
	args := []string{"get", "--socket", "/nonexistent", "-o", file, s.URL + "/file.bin"}
	code, _, errs := mammactl(t.Context(), "", args...)
	if kept := keptState(t, file); code != exitWrite || kept.bytes() != 1000 || !strings.Contains(errs, "http://other.test/large.iso") || !strings.Contains(errs, "--restart") {
		t.Errorf("code %d, kept %v: %s", code, kept.Ranges, errs)
	}
	if code, _, errs = mammactl(t.Context(), "", append(args, "--restart")...); code != exitOK {
		t.Errorf("code %d: %s", code, errs)
	}
}

// A file that another process completes, or removes, after it was opened as a part is
// none any more.
func TestLockPart(t *testing.T) {
	for name, end := range map[string]func(part, file string) error{
		"completed": os.Rename,
		"removed":   func(part, _ string) error { return os.Remove(part) },
		"made anew": func(part, _ string) error { return errors.Join(os.Remove(part), os.WriteFile(part, nil, 0o600)) },
		"":          func(string, string) error { return nil },
	} {
		part := filepath.Join(t.TempDir(), "file.part")
		f, err := os.Create(part)
		if err != nil {
			t.Fatal(err)
		}
		if err := end(part, strings.TrimSuffix(part, ".part")); err != nil {
			t.Fatal(err)
		}
		if ours, err := lockPart(f, part); ours != (name == "") || err != nil {
			t.Errorf("%s: %v, %v", name, ours, err)
		}
		_ = f.Close()
	}
}

// Whoever can read a part can lock it by flock(2), which keeps nobody from fetching. Two
// cannot fetch it at once.
func TestLockOfAReader(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name+".part", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	reader, err := os.Open(name + ".part")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	if err := unix.Flock(int(reader.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	p, err := openPart(name, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.file.Close() }()
	if second, err := openPart(name, false); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("%v, %v", second, err)
	}
}

// A complete file that cannot get its name is kept.
func TestGetKeepsUnnamed(t *testing.T) {
	s := startShelf(t, 4000, false)
	file := filepath.Join(t.TempDir(), "got")
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = os.Mkdir(file, 0o700)
		s.Config.Handler.ServeHTTP(w, r)
	}))
	defer web.Close()
	args := []string{"get", "--socket", "/nonexistent", "-o", file, web.URL + "/file.bin"}
	code, _, errs := mammactl(t.Context(), "", args...)
	if kept := keptState(t, file); code != exitWrite || kept.bytes() != 4000 {
		t.Errorf("code %d, kept %v: %s", code, kept.Ranges, errs)
	}
}

// A link's target, and a file in a folder in which nothing can be made, keep their
// content until the new one comes.
func TestGetIntoFile(t *testing.T) {
	s := startShelf(t, 4000, false)
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(target, bytes.Repeat([]byte("old"), 4000), 0o666), os.Symlink(target, link)); err != nil {
		t.Fatal(err)
	}
	try := func(t *testing.T, name string) {
		before, _ := os.ReadFile(target)
		if code, _, errs := mammactl(t.Context(), "", "get", "--socket", "/nonexistent", "-o", name, s.URL+"/none"); code != exitStatus {
			t.Errorf("code %d: %s", code, errs)
		}
		if after, err := os.ReadFile(target); !bytes.Equal(before, after) || err != nil {
			t.Errorf("%d bytes are left of %d, %v", len(after), len(before), err)
		}
		code, _, errs := mammactl(t.Context(), "", "get", "--socket", "/nonexistent", "-o", name, s.URL+"/file.bin")
		if after, err := os.ReadFile(target); code != exitOK || !bytes.Equal(after, s.data) || err != nil {
			t.Errorf("code %d, %d bytes, %v: %s", code, len(after), err, errs)
		}
	}
	t.Run("link", func(t *testing.T) { try(t, link) })
	t.Run("folder", func(t *testing.T) {
		if err := errors.Join(os.Chmod(target, 0o666), os.WriteFile(target, bytes.Repeat([]byte("old"), 4000), 0o666), os.Chmod(dir, 0o555), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.Chmod(dir, 0o700) }()
		defer unprivileged(t)()
		try(t, target)
	})
	t.Run("read-only folder", func(t *testing.T) {
		if err := os.WriteFile(target, bytes.Repeat([]byte("old"), 4000), 0o666); err != nil {
			t.Fatal(err)
		}
		withMounts(t, func() {
			var here unix.Statfs_t
			err := errors.Join(unix.Statfs(dir, &here), unix.Mount(dir, dir, "", unix.MS_BIND, ""), unix.Mount(target, target, "", unix.MS_BIND, ""))
			flags := uintptr(here.Flags)&(unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC) | unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY
			if err := errors.Join(err, unix.Mount("none", dir, "", flags, "")); err != nil {
				t.Error(err)
				return
			}
			try(t, target)
		})
	})
}

// unprivileged takes the rights of root over files from this thread, if it has them, until
// the returned function is called.
func unprivileged(t *testing.T) (end func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		return func() {}
	}
	runtime.LockOSThread()
	const nobody = 65534
	if err := unix.Setfsuid(nobody); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = unix.Setfsuid(0)
		runtime.UnlockOSThread()
	}
}

// A part that get may not open is left alone, and so is the file beside it.
func TestGetLeavesClosedPart(t *testing.T) {
	s := startShelf(t, 4000, false)
	dir := t.TempDir()
	file := filepath.Join(dir, "got")
	if err := errors.Join(os.WriteFile(file, []byte("precious"), 0o666), os.Chmod(file, 0o666), os.WriteFile(file+".part", []byte("of another user"), 0o400),
		os.Chmod(dir, 0o777), os.Chmod(filepath.Dir(dir), 0o755)); err != nil { //nolint:gosec // for the other user
		t.Fatal(err)
	}
	defer unprivileged(t)()
	code, _, errs := mammactl(t.Context(), "", "get", "--socket", "/nonexistent", "-o", file, s.URL+"/file.bin")
	if got, err := os.ReadFile(file); code != exitWrite || string(got) != "precious" || err != nil || !strings.Contains(errs, "got.part: permission denied") {
		t.Errorf("code %d, %d bytes, %v: %s", code, len(got), err, errs)
	}
}

// withMounts calls f on a thread that has its own mounts, if this process may have any.
func withMounts(t *testing.T, f func()) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // and never unlocked: the thread with its mounts ends with this goroutine
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			t.Logf("no mounts of one's own: %v", err)
			return
		}
		if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-ended
}

// On a full disk, nearly all of what has come is kept.
func TestGetDiskFull(t *testing.T) {
	s := startShelf(t, 4_000_000, false)
	dir := t.TempDir()
	withMounts(t, func() {
		if err := unix.Mount("none", dir, "tmpfs", 0, "size=2m"); err != nil {
			t.Error(err)
			return
		}
		file := filepath.Join(dir, "got")
		args := []string{"get", "--socket", "/nonexistent", "-o", file, s.URL + "/file.bin"}
		code, _, errs := mammactl(t.Context(), "", args...)
		b, err := os.ReadFile(file + ".part.json")
		var kept partState
		if err := errors.Join(err, json.Unmarshal(b, &kept)); err != nil || code != exitWrite || kept.bytes() < 1_500_000 || !strings.Contains(errs, "goes on from there") {
			t.Errorf("code %d, kept %v, %v: %s", code, kept.Ranges, err, errs)
			return
		}
		if err := unix.Mount("none", dir, "", unix.MS_REMOUNT, "size=20m"); err != nil {
			t.Error(err)
			return
		}
		s.sent.Store(0)
		code, _, errs = mammactl(t.Context(), "", args...)
		if got, err := os.ReadFile(file); code != exitOK || !bytes.Equal(got, s.data) || err != nil || s.sent.Load() > 2_500_000 {
			t.Errorf("code %d, %d bytes, %d sent, %v: %s", code, len(got), s.sent.Load(), err, errs)
		}
	})
}
