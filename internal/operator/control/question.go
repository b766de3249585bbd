package control

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// maxName bounds the length of host names (RFC 1035 section 2.3.4, plus a final dot)
// and of service names.
const maxName = 255

// question checks q and converts it to the engine's form.
func (q *Question) question() (mam.Question, error) {
	out := mam.Question{Host: q.Host, Service: q.Service}
	if len(q.Host) > maxName || len(q.Service) > maxName {
		return out, fmt.Errorf("host and service must not have more than %d characters", maxName)
	}
	var err error
	if out.Kind, err = choice("kind", q.Kind, policy.SocketConnect, policy.Connect, policy.SocketConnect, policy.SocketChoose); err != nil {
		return out, err
	}
	if out.Network.Transport, err = choice("transport", q.Transport, policy.Stream, policy.Stream, policy.Datagram); err != nil {
		return out, err
	}
	if out.Network.Family, err = choice("family", q.Family, policy.Unspecified, policy.IPv4, policy.IPv6, policy.Unspecified); err != nil {
		return out, err
	}
	if q.Bound != "" {
		if out.Bound, err = netip.ParseAddr(q.Bound); err != nil {
			return out, fmt.Errorf("bound must be an address, not %q", q.Bound)
		}
	}
	if out.Kind == policy.Connect {
		a, err1 := netip.ParseAddr(q.Host)
		port, err2 := strconv.ParseUint(q.Service, 10, 16)
		if err1 != nil || err2 != nil {
			return out, fmt.Errorf("kind connect wants an address and a port number, not %q and %q", q.Host, q.Service)
		}
		out.Remote = netip.AddrPortFrom(a, uint16(port))
	}
	if out.Selection, err = preferences(q.Selection); err != nil {
		return out, err
	}
	out.Intents, err = q.Intents.Set()
	return out, err
}

// preferences checks the preferences in a question.
func preferences(list []Preference) ([]wire.Preference, error) {
	if len(list) > wire.MaxPreferences {
		return nil, fmt.Errorf("selection must not have more than %d preferences", wire.MaxPreferences)
	}
	var out []wire.Preference
	for _, p := range list {
		var x wire.Preference
		var err error
		if x.Want, err = choice("want", p.Want, wire.Want(0), wire.WantRequire, wire.WantPrefer, wire.WantAvoid, wire.WantProhibit); err != nil {
			return nil, err
		}
		if x.Kind, err = choice("kind", p.Kind, wire.PreferenceKind(0), wire.ByInterface, wire.ByNetwork, wire.ByCost); err != nil {
			return nil, err
		}
		if x.Name = p.Name; x.Want == 0 || x.Kind == 0 || x.Name == "" || len(x.Name) > wire.MaxPreferenceName {
			return nil, fmt.Errorf("a preference needs want, kind and a name of at most %d bytes", wire.MaxPreferenceName)
		}
		if x.Kind == wire.ByCost {
			if _, err := choice("cost", x.Name, policy.Free, policy.Free, policy.Metered, policy.Expensive); err != nil {
				return nil, err
			}
		}
		out = append(out, x)
	}
	return out, nil
}

// choice returns the value named s, or def if s is empty.
func choice[T fmt.Stringer](what, s string, def T, values ...T) (T, error) {
	if s == "" {
		return def, nil
	}
	var names []string
	for _, v := range values {
		if strings.EqualFold(s, v.String()) {
			return v, nil
		}
		names = append(names, v.String())
	}
	return def, fmt.Errorf("%s must be one of %s, not %q", what, strings.Join(names, ", "), s)
}

// Set converts the intents to those of package intent. It returns an error for an
// unknown word or number.
func (in *Intents) Set() (intent.Set, error) {
	var s intent.Set
	for _, w := range []struct {
		o intent.Option
		v *string
	}{
		{intent.OptCategory, in.Category}, {intent.OptBurstiness, in.Burstiness},
		{intent.OptTimeliness, in.Timeliness}, {intent.OptResilience, in.Resilience},
	} {
		if w.v == nil {
			continue
		}
		n, err := w.o.ParseValue(*w.v)
		if err != nil {
			return s, fmt.Errorf("%v must be one of %s, or a number, not %q", w.o, strings.Join(w.o.Words(), ", "), *w.v)
		}
		s = s.With(w.o, n)
	}
	for _, n := range []struct {
		o intent.Option
		v *int64
	}{{intent.OptFileSize, in.FileSize}, {intent.OptDuration, in.Duration}, {intent.OptBitrate, in.Bitrate}} {
		if n.v != nil {
			s = s.With(n.o, *n.v)
		}
	}
	return s, nil
}
