package habits

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func testLearner(hosts int) (*Learner, *time.Time) {
	l := New(Settings{Hosts: hosts, HalfLife: 24 * time.Hour})
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	l.now = func() time.Time { return now }
	return l, &now
}

func TestTypical(t *testing.T) {
	dest := Dest{Host: "example.org", Port: 443}
	type seen struct {
		bytes int64
		took  time.Duration
	}
	for _, tt := range []struct {
		name string
		seen []seen
		wait time.Duration
		want string
	}{
		{"never seen", nil, 0, ""},
		{"twice is not enough", []seen{{1000, time.Second}, {1000, time.Second}}, 0, ""},
		{"small and short", []seen{{1000, time.Second}, {1000, time.Second}, {1000, time.Second}}, 0, "category=query,filesize=1kB,duration=1"},
		{"much in little time", []seen{{10 << 20, 10 * time.Second}, {10 << 20, 10 * time.Second}, {10 << 20, 10 * time.Second}}, 0, "category=bulktransfer,filesize=10MiB,duration=10"},
		{"little in a long time", []seen{{5000, time.Hour}, {5000, time.Hour}, {5000, time.Hour}}, 0, "category=keepalives,filesize=5kB,duration=3600"},
		{"in between", []seen{{200000, time.Minute}, {200000, time.Minute}, {200000, time.Minute}}, 0, "filesize=200kB,duration=60"},
		{"the mean is geometric", []seen{{99999, time.Second}, {199999, time.Second}, {399999, time.Second}}, 0, "filesize=199999B,duration=1"},
		{"no typical size", []seen{{100, time.Second}, {1e9, time.Second}, {100, time.Second}, {1e9, time.Second}}, 0, "duration=1"},
		{"forgotten", []seen{{1000, time.Second}, {1000, time.Second}, {1000, time.Second}}, 24 * time.Hour, ""},
	} {
		l, now := testLearner(10)
		for _, s := range tt.seen {
			l.See(dest, s.bytes, s.took)
		}
		*now = now.Add(tt.wait)
		if got := l.Typical(dest).String(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// New behaviour replaces old: after as many connections as weight is kept, and
// sooner when time has passed.
func TestLearningFollows(t *testing.T) {
	dest := Dest{Host: "example.org", Port: 443}
	l, now := testLearner(10)
	for range 100 {
		l.See(dest, 1000, time.Second)
	}
	*now = now.Add(10 * 24 * time.Hour)
	for range 3 {
		l.See(dest, 1e8, 10*time.Second)
	}
	if n, _ := l.Typical(dest).FileSize(); n < 8e7 {
		t.Errorf("the typical size is still %d", n)
	}
}

func TestLearningIsBounded(t *testing.T) {
	l, _ := testLearner(3)
	for i := range 10 {
		for range 3 {
			l.See(Dest{Host: fmt.Sprintf("h%d", i), Port: 1}, 1000, time.Second)
		}
		l.See(Dest{Host: "h0", Port: 1}, 1000, time.Second) // stays, being used
	}
	if len(l.byDest) != 3 || l.recent.Len() != 3 {
		t.Errorf("%d and %d hosts are remembered", len(l.byDest), l.recent.Len())
	}
	if l.Typical(Dest{Host: "h0", Port: 1}).IsZero() || !l.Typical(Dest{Host: "h5", Port: 1}).IsZero() {
		t.Error("the wrong hosts are remembered")
	}
}

func TestSaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "learnt.json")
	l, _ := testLearner(10)
	if err := l.Load(path); err != nil {
		t.Errorf("a missing file: %v", err)
	}
	for i := range 5 {
		for range 3 {
			l.See(Dest{Host: fmt.Sprintf("h%d", i), Port: 443}, int64(1000*(i+1)), time.Second)
		}
	}
	if err := l.Save(path); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: others can read it", fi.Mode(), err)
	}
	if err := os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := l.Save(path); err != nil { // nothing has changed
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.ModTime().Unix() != 1 {
		t.Errorf("the file was written again without need: %v", err)
	}
	again, _ := testLearner(2)
	if err := again.Load(path); err != nil {
		t.Fatal(err)
	}
	for i, known := range []bool{false, false, false, true, true} { // the most recent two
		dest := Dest{Host: fmt.Sprintf("h%d", i), Port: 443}
		if got := again.Typical(dest); got.IsZero() == known || known && got != l.Typical(dest) {
			t.Errorf("%v: %v", dest, got)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Two that keep what they learn in one file lose nothing of each other.
func TestLoadMerges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "learnt.json")
	one, _ := testLearner(10)
	two, later := testLearner(10)
	*later = later.Add(time.Hour)
	shared := Dest{Host: "shared", Port: 443}
	for range 3 {
		one.See(Dest{Host: "first", Port: 443}, 1000, time.Second)
		one.See(shared, 1000, time.Second)
		two.See(Dest{Host: "second", Port: 443}, 1000, time.Second)
		two.See(shared, 5000, time.Second)
	}
	for _, l := range []*Learner{one, two, one} {
		if err := errors.Join(l.Load(path), l.Save(path)); err != nil {
			t.Fatal(err)
		}
	}
	all, now := testLearner(10)
	*now = *later
	if err := all.Load(path); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int64{"first": 1000, "second": 1000, "shared": 5000} {
		if n, _ := all.Typical(Dest{Host: host, Port: 443}).FileSize(); n != want {
			t.Errorf("%s: %d, want %d", host, n, want)
		}
	}
	if front := all.recent.Front().Value.(*habit).Dest.Host; front == "first" {
		t.Error("what was seen last does not come first")
	}
}

func FuzzLearntFile(f *testing.F) {
	f.Add(`{"version":1,"habits":[{"Dest":{"Host":"a","Port":1},"Seen":"2024-01-01T00:00:00Z","Weight":3,"Size":{"Mean":1,"Square":1},"Duration":{"Mean":1,"Square":1}}]}`)
	f.Add(`{"version":2}`)
	f.Add(`{"version":1,"habits":[null]}`)
	f.Add(`{"version":1,"habits":[{"Weight":-1}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		l, _ := testLearner(10)
		if l.read(strings.NewReader(text)) != nil {
			return
		}
		for d := range l.byDest {
			s := l.Typical(d)
			if n, _ := s.FileSize(); n < 0 {
				t.Fatalf("%v has size %d", d, n)
			}
			l.See(d, 1, time.Second)
		}
	})
}
