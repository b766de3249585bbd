package wire

import (
	"math"

	"github.com/socket-intents/mamma/intent"
)

// Levels and names of socket options that suggestions contain. They are the numbers of
// Linux on every host.
const (
	SolSocket      = 1
	SoBindToDevice = 25
)

// Intents returns the intents among the current options. The last option of a number
// counts. An option whose value does not have 4 bytes counts as not given. Wide intents
// override ordinary ones.
func (m *Message) Intents() intent.Set {
	var s intent.Set
	for i := range m.Context.OptionsCurrent {
		o := &m.Context.OptionsCurrent[i]
		if o.Level == intent.Level && len(o.Value) == 4 {
			s = s.With(intent.Option(o.Name), int64(int32(le.Uint32(o.Value))))
		}
	}
	for _, w := range m.WideIntents {
		if w.Option <= math.MaxInt32 {
			s = s.With(intent.Option(w.Option), w.Value)
		}
	}
	return s
}

// SetIntents replaces the intents among the current options by those of s. A value that
// does not fit 32 bits goes into the wide intents; the ordinary option then has the
// nearest value that fits. A peer without FeatureWideIntents ignores the wide intents.
func (m *Message) SetIntents(s intent.Set) {
	opts := m.Context.OptionsCurrent
	kept := opts[:0]
	for i := range opts {
		if opts[i].Level != intent.Level {
			// Elements are swapped and not copied, so that no two entries share the
			// memory of a Value.
			kept = kept[:len(kept)+1]
			last := &kept[len(kept)-1]
			*last, opts[i] = opts[i], *last
		}
	}
	m.WideIntents = m.WideIntents[:0]
	for name, v := range s.All() {
		narrow := int32(max(math.MinInt32, min(math.MaxInt32, v)))
		if int64(narrow) != v {
			m.WideIntents = append(m.WideIntents, WideIntent{uint32(name), v})
		}
		kept = grow(kept)
		last := &kept[len(kept)-1]
		*last = SockOpt{
			Level: intent.Level,
			Name:  int32(name),
			Value: le.AppendUint32(last.Value[:0], uint32(narrow)),
			Flags: 0,
		}
	}
	m.Context.OptionsCurrent = kept
}

// Device returns the interface that the suggested options bind the socket to, "" if
// none.
func (c *Context) Device() string {
	for i := range c.OptionsSuggested {
		if o := &c.OptionsSuggested[i]; o.Level == SolSocket && o.Name == SoBindToDevice {
			v := o.Value
			for j, ch := range v {
				if ch == 0 {
					v = v[:j]
					break
				}
			}
			return string(v)
		}
	}
	return ""
}

// Alike tells whether lease l also covers a request with intents b. The lease answered
// a request with intents a. Alike compares nothing but the intents.
func (l *Lease) Alike(a, b intent.Set) bool {
	sized := l.SizeFrom != 0 || l.SizeTo != 0
	if a == b && !sized {
		return true
	}
	for o := intent.OptCategory; o.Valid(); o++ {
		switch {
		case o == intent.OptFileSize && sized:
			if n, stated := b.FileSize(); !stated || n < l.SizeFrom || n > l.SizeTo {
				return false
			}
		case l.Ignored&(1<<o) != 0:
		default:
			va, oka := a.Get(o)
			vb, okb := b.Get(o)
			if va != vb || oka != okb {
				return false
			}
		}
	}
	return true
}
