package wire

import (
	"testing"

	"github.com/socket-intents/mamma/intent"
)

// hot lists the messages of the hot path.
var hot = []string{"connect-v4-req", "connect-v4-resp", "socketconnect-v4-intents-req", "socketconnect-v4-intents-resp"}

// loop is a stream that repeats b without end.
type loop struct {
	b    []byte
	rest []byte
}

func (l *loop) Read(b []byte) (int, error) {
	if len(l.rest) == 0 {
		l.rest = l.b
	}
	n := copy(b, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func TestAllocations(t *testing.T) {
	for _, name := range hot {
		b := readCapture(t, name)
		var m Message
		r := NewReader(&loop{b: b})
		var out []byte
		round := func() {
			if err := r.Read(&m); err != nil {
				t.Fatal(err)
			}
			var err error
			if out, err = m.Append(out[:0]); err != nil {
				t.Fatal(err)
			}
		}
		round()
		if n := testing.AllocsPerRun(100, round); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
	s := intent.Set{}.WithCategory(intent.CategoryQuery).WithFileSize(1 << 40)
	var m Message
	if n := testing.AllocsPerRun(100, func() { m.SetIntents(s); _ = m.Intents() }); n != 0 {
		t.Errorf("intents: %v allocations, want 0", n)
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, name := range hot {
		b.Run(name, func(b *testing.B) {
			data := readCapture(b, name)
			r := NewReader(&loop{b: data})
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			var m Message
			for b.Loop() {
				if err := r.Read(&m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, name := range hot {
		b.Run(name, func(b *testing.B) {
			m := captures[name]
			out := make([]byte, 0, MaxMessage)
			b.SetBytes(int64(len(readCapture(b, name))))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if out, err = m.Append(out[:0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
