package intent

import (
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestSetKeepsRawValues(t *testing.T) {
	var s Set
	if !s.IsZero() {
		t.Error("the zero Set says something")
	}
	if _, given := s.Category(); given {
		t.Error("the zero Set gives a category")
	}
	s = s.WithCategory(Query).WithFileSize(3<<40).With(OptDuration, -1).With(77, 5)
	if c, given := s.Category(); !given || c != Query {
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
	said := Set{}.WithCategory(Stream)
	defaults := Set{}.WithCategory(Query).WithFileSize(10)
	if got, want := said.Merge(defaults), (Set{}).WithCategory(Stream).WithFileSize(10); got != want {
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
		{0, []interface{ String() string }{Query, BulkTransfer, ControlTraffic, KeepAlives, Stream}, "query bulktransfer controltraffic keepalives stream"},
		{0, []interface{ String() string }{RandomBursts, RegularBursts, NoBursts, Bulk}, "randombursts regularbursts nobursts bulk"},
		{0, []interface{ String() string }{Streaming, Interactive, Transfer, BackgroundTraffic}, "streaming interactive transfer backgroundtraffic"},
		{0, []interface{ String() string }{Sensitive, Tolerant, Resilient}, "sensitive tolerant resilient"},
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
		{Query, "query"}, {Stream, "stream"}, {Category(5), "category(5)"},
		{Bulk, "bulk"}, {BackgroundTraffic, "backgroundtraffic"}, {Resilient, "resilient"}, {Resilience(-1), "resilience(-1)"},
	} {
		if got := tt.got.String(); got != tt.want {
			t.Errorf("%#v: %q, want %q", tt.got, got, tt.want)
		}
	}
}
