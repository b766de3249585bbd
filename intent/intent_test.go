package intent

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSetKeepsRawValues(t *testing.T) {
	var s Set
	if !s.IsZero() {
		t.Error("the zero Set says something")
	}
	if _, given := s.Category(); given {
		t.Error("the zero Set gives a category")
	}
	s = s.WithCategory(CategoryQuery).WithFileSize(3<<40).With(OptDuration, -1).With(77, 5)
	if c, given := s.Category(); !given || c != CategoryQuery {
		t.Errorf("category = %v, %v; a given 0 must differ from not given", c, given)
	}
	if n, given := s.FileSize(); !given || n != 3<<40 {
		t.Errorf("file size = %d, %v", n, given)
	}
	if v, given := s.Get(OptDuration); !given || v != -1 {
		t.Errorf("duration = %d, %v", v, given)
	}
	if _, given := s.Get(77); given {
		t.Error("an unknown option is stored")
	}
	if got := s.Without(OptCategory).Without(OptFileSize).Without(OptDuration); got != (Set{}) {
		t.Errorf("a Set with everything taken out is %v, not the zero Set", got)
	}
	if c, _ := s.With(OptCategory, math.MaxInt64).Category(); c != math.MaxInt32 {
		t.Errorf("a huge category reads as %d", c)
	}
}

func TestMerge(t *testing.T) {
	said := Set{}.WithCategory(CategoryStream)
	defaults := Set{}.WithCategory(CategoryQuery).WithFileSize(10)
	if got, want := said.Merge(defaults), (Set{}).WithCategory(CategoryStream).WithFileSize(10); got != want {
		t.Errorf("Merge = %v, want %v", got, want)
	}
}

// The tables of doc/original/client-and-socks.md 2: each number and its name.
func TestNumbers(t *testing.T) {
	if Level != 300 {
		t.Errorf("level %d, want 300", Level)
	}
	for _, table := range []struct {
		first int64
		got   []interface{ String() string }
		want  string
	}{
		{1, []interface{ String() string }{OptCategory, OptFileSize, OptDuration, OptBitrate, OptBurstiness, OptTimeliness, OptResilience},
			"category filesize duration bitrate burstiness timeliness resilience"},
		{0, []interface{ String() string }{CategoryQuery, CategoryBulkTransfer, CategoryControlTraffic, CategoryKeepAlives, CategoryStream}, "query bulktransfer controltraffic keepalives stream"},
		{0, []interface{ String() string }{BurstsRandom, BurstsRegular, BurstsNone, BurstsBulk}, "randombursts regularbursts nobursts bulk"},
		{0, []interface{ String() string }{TimelinessStreaming, TimelinessInteractive, TimelinessTransfer, TimelinessBackgroundTraffic}, "streaming interactive transfer backgroundtraffic"},
		{0, []interface{ String() string }{ResilienceSensitive, ResilienceTolerant, ResilienceResilient}, "sensitive tolerant resilient"},
	} {
		var names []string
		for i, v := range table.got {
			names = append(names, v.String())
			if n := reflect.ValueOf(v).Int(); n != table.first+int64(i) {
				t.Errorf("%v is %d, want %d", v, n, table.first+int64(i))
			}
		}
		if got := strings.Join(names, " "); got != table.want {
			t.Errorf("names %q, want %q", got, table.want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		got  interface{ String() string }
		want string
	}{
		{OptCategory, "category"}, {OptResilience, "resilience"}, {Option(0), "intent(0)"}, {Option(8), "intent(8)"}, {Option(-1), "intent(-1)"},
		{CategoryQuery, "query"}, {CategoryStream, "stream"}, {Category(5), "category(5)"},
		{BurstsBulk, "bulk"}, {TimelinessBackgroundTraffic, "backgroundtraffic"}, {ResilienceResilient, "resilient"}, {Resilience(-1), "resilience(-1)"},
	} {
		if got := tt.got.String(); got != tt.want {
			t.Errorf("%#v: %q, want %q", tt.got, got, tt.want)
		}
	}
}

// Each intent comes out as it was stated, in the units of its methods.
func TestGetters(t *testing.T) {
	s := Set{}.WithCategory(CategoryStream).WithFileSize(7).WithDuration(90*time.Second + 600*time.Millisecond).WithBitrateBytesPerSecond(11).
		WithBurstiness(BurstsBulk).WithTimeliness(TimelinessBackgroundTraffic).WithResilience(ResilienceResilient)
	type all struct {
		c  Category
		n  int64
		d  time.Duration
		r  int64
		b  Burstiness
		tl Timeliness
		rs Resilience
	}
	read := func(s Set) (v all, given int) {
		oks := make([]bool, 7)
		v.c, oks[0] = s.Category()
		v.n, oks[1] = s.FileSize()
		v.d, oks[2] = s.Duration()
		v.r, oks[3] = s.Bitrate()
		v.b, oks[4] = s.Burstiness()
		v.tl, oks[5] = s.Timeliness()
		v.rs, oks[6] = s.Resilience()
		for _, ok := range oks {
			if ok {
				given++
			}
		}
		return v, given
	}
	want := all{CategoryStream, 7, 91 * time.Second, 11, BurstsBulk, TimelinessBackgroundTraffic, ResilienceResilient}
	if got, given := read(s); got != want || given != 7 {
		t.Errorf("%+v, %d given, want %+v", got, given, want)
	}
	if got, given := read(Set{}); got != (all{}) || given != 0 {
		t.Errorf("the zero Set gives %+v, %d", got, given)
	}
	if d, ok := s.WithPlayoutBuffer(1500 * time.Microsecond).PlayoutBuffer(); d != time.Millisecond || !ok {
		t.Errorf("play-out buffer %v, %v", d, ok)
	}
	for raw, want := range map[int64]time.Duration{math.MaxInt64: math.MaxInt64, math.MinInt64: math.MinInt64, -2: -2 * time.Second} {
		if d, _ := s.With(OptDuration, raw).Duration(); d != want {
			t.Errorf("%d seconds are %v, want %v", raw, d, want)
		}
	}
}

// Every value reads back from what is shown of it.
func TestValues(t *testing.T) {
	for _, o := range append(Options(), 0, 8) {
		for _, v := range []int64{0, 1, 3, 4, 5, -1, math.MaxInt64, math.MinInt64} {
			for _, text := range []string{o.FormatValue(v), o.Word(v)} {
				got, err := o.ParseValue(text)
				switch {
				case o.Valid() && (o.Words() != nil || text == o.FormatValue(v)):
					if got != v || err != nil {
						t.Errorf("%v: %d is shown as %s and read back as %d (%v)", o, v, text, got, err)
					}
				case !o.Valid() && err == nil:
					t.Errorf("%v has a value", o)
				}
			}
		}
	}
	for text, o := range map[string]Option{"4M": OptBitrate, "4MB": OptFileSize, "4000000": OptDuration} {
		if got := o.FormatValue(4_000_000); got != text {
			t.Errorf("%v 4000000 is shown as %s, want %s", o, got, text)
		}
	}
	words := OptCategory.Words()
	words[0] = "changed"
	if got := CategoryQuery.String(); got != "query" {
		t.Errorf("a caller changed the name of the first category to %s", got)
	}
	if OptFileSize.Words() != nil || Option(0).Words() != nil {
		t.Error("there are words for a number")
	}
}
