package budget

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic("budget: " + err.Error())
	}
	return t
}

func TestMonth(t *testing.T) {
	for _, tt := range []struct {
		now         string
		day         int
		start, next string
	}{
		{"2026-03-15 12:00", 1, "2026-03-01 00:00", "2026-04-01 00:00"},
		{"2026-03-01 00:00", 1, "2026-03-01 00:00", "2026-04-01 00:00"},
		{"2026-03-15 12:00", 20, "2026-02-20 00:00", "2026-03-20 00:00"},
		{"2026-01-05 12:00", 20, "2025-12-20 00:00", "2026-01-20 00:00"},
		{"2026-12-25 12:00", 20, "2026-12-20 00:00", "2027-01-20 00:00"},
		{"2026-02-28 00:00", 31, "2026-02-28 00:00", "2026-03-31 00:00"},
		{"2026-02-27 23:59", 31, "2026-01-31 00:00", "2026-02-28 00:00"},
		{"2028-02-29 10:00", 30, "2028-02-29 00:00", "2028-03-30 00:00"},
		{"2026-03-30 10:00", 31, "2026-02-28 00:00", "2026-03-31 00:00"},
		{"2026-04-30 10:00", 31, "2026-04-30 00:00", "2026-05-31 00:00"},
		{"2026-05-10 10:00", 0, "2026-05-01 00:00", "2026-06-01 00:00"},
	} {
		if got := Start(at(tt.now), tt.day); !got.Equal(at(tt.start)) {
			t.Errorf("%s, day %d: began %v", tt.now, tt.day, got)
		}
		if got := Next(at(tt.now), tt.day); !got.Equal(at(tt.next)) {
			t.Errorf("%s, day %d: ends %v", tt.now, tt.day, got)
		}
	}
}

// reading is a reading of the counter, on a machine that may have been restarted.
type reading struct {
	now     string
	boot    string // "": as before
	index   int    // 0: as before
	counter uint64
	day     int // 0: as before
	want    uint64
}

func TestMeter(t *testing.T) {
	for _, tt := range []struct {
		name     string
		readings []reading
	}{
		{"what was before does not count", []reading{
			{"2026-03-01 10:00", "A", 3, 5000, 1, 0}, {now: "2026-03-01 11:00", counter: 5700, want: 700}, {now: "2026-03-01 12:00", counter: 5700, want: 700},
		}},
		{"a new interface of the same name", []reading{
			{"2026-03-01 10:00", "A", 3, 5000, 1, 0}, {now: "2026-03-01 11:00", counter: 5100, want: 100}, {now: "2026-03-01 12:00", index: 9, counter: 30, want: 130},
		}},
		{"counters that were reset", []reading{
			{"2026-03-01 10:00", "A", 3, 5000, 1, 0}, {now: "2026-03-01 12:00", counter: 30, want: 30},
		}},
		{"the same program started again counts what it missed", []reading{
			{"2026-03-01 10:00", "A", 3, 5000, 1, 0}, {now: "2026-03-01 11:00", boot: "A", counter: 6000, want: 1000},
		}},
		{"another boot", []reading{
			{"2026-03-01 10:00", "A", 3, 5000, 1, 0}, {now: "2026-03-01 11:00", counter: 6000, want: 1000}, {now: "2026-03-02 11:00", boot: "B", counter: 9000, want: 10000},
		}},
		{"a new month", []reading{
			{"2026-03-31 23:00", "A", 3, 0, 1, 0}, {now: "2026-03-31 23:59", counter: 6000, want: 6000}, {now: "2026-04-01 00:01", counter: 6010, want: 10},
			{now: "2026-04-02 00:01", counter: 6020, want: 20},
		}},
		{"a clock that runs back forgets nothing", []reading{
			{"2026-04-01 10:00", "A", 3, 0, 1, 0}, {now: "2026-04-01 11:00", counter: 500, want: 500}, {now: "2026-03-31 11:00", counter: 600, want: 600},
		}},
		{"a clock that was years ahead starts months again", []reading{
			{"2036-04-01 10:00", "A", 3, 0, 1, 0}, {now: "2026-03-31 10:00", counter: 500, want: 500}, {now: "2026-04-01 10:00", counter: 600, want: 100},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "deep", "budget.json")
			m := &Meter{}
			index, day := 0, 0
			for i, r := range tt.readings {
				if r.boot != "" {
					if err := m.Save(path); err != nil {
						t.Fatal(err)
					}
					var err error
					if m, err = Load(path, r.boot); err != nil {
						t.Fatal(err)
					}
				}
				if r.index != 0 {
					index = r.index
				}
				if r.day != 0 {
					day = r.day
				}
				if got := m.Add(at(r.now), "wwan0", index, r.counter, day); got != r.want {
					t.Errorf("reading %d: %d bytes, want %d", i, got, r.want)
				}
			}
		})
	}
}

func TestSave(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "budget.json")
	m, err := Load(path, "A")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file without anything to say")
	}
	m.Add(at("2026-03-01 10:00"), "wwan0", 3, 10, 1)
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.Add(at("2026-03-01 10:00"), "wwan0", 3, 11, 1)
	if err := m.Save(filepath.Join(dir, "file", "budget.json")); err == nil {
		t.Error("saved below a file")
	}

	for _, bad := range []string{"", "{", `{"version": 9}`, `{"version": 1, "interfaces": {"a": {"used": -1}}}`, strings.Repeat(" ", maxFile+1)} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Load(path, "A")
		if err == nil {
			t.Errorf("%.40q was taken", bad)
		}
		if got := m.Add(at("2026-03-01 10:00"), "wwan0", 3, 10, 1); got != 0 {
			t.Errorf("%.40q: counts %d", bad, got)
		}
	}
}

// Whatever a file says, counting continues from there without wrapping around.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"interfaces":{"wwan0":{"used":5,"start":"2026-03-01T00:00:00Z","counter":7,"index":3,"boot":"b"}}}`))
	f.Add([]byte(`{"version":1,"interfaces":{"wwan0":{"used":18446744073709551615,"start":"2026-03-01T00:00:00Z","boot":"b"}}}`))
	f.Add([]byte(`{"version":1,"interfaces":null}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &Meter{boot: "b", byIf: map[string]count{}}
		if m.parse(b) != nil {
			return
		}
		now := at("2026-03-15 12:00")
		first := m.Add(now, "wwan0", 3, 1<<63, 1)
		if second := m.Add(now, "wwan0", 3, 1<<63+1000, 1); second < first {
			t.Errorf("%d bytes, and then %d", first, second)
		}
	})
}
