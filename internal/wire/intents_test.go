package wire

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/intent"
)

func TestIntents(t *testing.T) {
	m := Message{Context: Context{OptionsCurrent: []SockOpt{
		opt(300, 1, 1),
		opt(1, 2, 77), // another level
		opt(300, 77, 1),
		{Level: 300, Name: 3},
		{Level: 300, Name: 4, Value: make([]byte, 8)},
		opt(300, 6, math.MaxUint32),
		opt(300, 1, 4),
	}}}
	want := intent.Set{}.WithCategory(intent.CategoryStream).WithTimeliness(-1)
	if got := m.Intents(); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSetIntents(t *testing.T) {
	m := Message{Context: Context{OptionsCurrent: []SockOpt{opt(300, 1, 1), opt(6, 1, 1), opt(300, 7, 1), opt(1, 2, 1)}}}
	s := intent.Set{}.WithCategory(intent.CategoryBulkTransfer).WithFileSize(3<<30).With(intent.OptDuration, -1<<40)
	m.SetIntents(s)
	want := Message{
		Context: Context{OptionsCurrent: []SockOpt{
			opt(6, 1, 1), opt(1, 2, 1),
			opt(300, 1, 1), opt(300, 2, math.MaxInt32), opt(300, 3, 1<<31),
		}},
		WideIntents: []WideIntent{{2, 3 << 30}, {3, -1 << 40}},
	}
	if diff := cmp.Diff(want, m, same); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := m.Intents(); got != s {
		t.Errorf("read back %v, want %v", got, s)
	}
	m.SetIntents(intent.Set{})
	if got := m.Intents(); !got.IsZero() || len(m.Context.OptionsCurrent) != 2 {
		t.Errorf("not removed: %v", m.Context.OptionsCurrent)
	}
}

func TestDevice(t *testing.T) {
	for _, test := range []struct{ value, want string }{{"wlan0\x00", "wlan0"}, {"wlan0", "wlan0"}, {"", ""}} {
		c := Context{OptionsSuggested: []SockOpt{opt(6, SoBindToDevice, 1), {Level: SolSocket, Name: SoBindToDevice, Value: []byte(test.value)}}}
		if got := c.Device(); got != test.want {
			t.Errorf("%q: %q, want %q", test.value, got, test.want)
		}
	}
}

func TestCapturedIntents(t *testing.T) {
	m := captures["socketconnect-v4-intents-req"]
	s := m.Intents()
	if c, ok := s.Category(); !ok || c != 0 {
		t.Errorf("category %v %v, want query", c, ok)
	}
	if n, ok := s.FileSize(); !ok || n != 1024 {
		t.Errorf("file size %v %v, want 1024", n, ok)
	}
}
