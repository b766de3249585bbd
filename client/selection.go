package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/internal/wire"
)

// Preference is how much something is wanted (RFC 9622, section 6.2).
type Preference int8

// The preferences, from not at all to always. The zero value is NoPreference.
const (
	Prohibit     Preference = -2 // no connection rather than one with it
	Avoid        Preference = -1 // others come first
	NoPreference Preference = 0
	Prefer       Preference = 1 // before others
	Require      Preference = 2 // no connection rather than one without it
)

// String gives the word of RFC 9622 in lower case.
func (p Preference) String() string {
	names := [...]string{"prohibit", "avoid", "no preference", "prefer", "require"}
	if i := int(p) - int(Prohibit); i >= 0 && i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("preference %d", int8(p))
}

// ErrNotPermitted is found by errors.Is in the error of a dial that the
// SelectionProperties leave no network for.
var ErrNotPermitted = errors.New("no network that the selection properties permit")

// SelectionProperties say which networks a connection may take, by the name of the
// interface. Prefer and Avoid order what the manager suggests. Require and Prohibit
// are kept or the dial fails with ErrNotPermitted, also where there is no manager:
// an unknown network is not permitted then, so there is no plain dial, names are
// resolved by the manager only, sockets are bound to the interface, and
// Multipath TCP, which may add networks later, is not used. With several Require,
// one of them will do. This host itself is reached over its loopback interface.
//
// The zero value says nothing. Values can be compared, and do not change.
type SelectionProperties struct {
	rules string // name, "/", a letter, "/" for each, by name
}

// letters stand for Preferences from Prohibit on.
const letters = "xa-pr"

// WithInterface returns p with a preference for the interface of that name, which
// replaces an earlier one; NoPreference takes it back.
func (p SelectionProperties) WithInterface(name string, want Preference) SelectionProperties {
	rules := map[string]Preference{}
	for n, w := range p.all {
		rules[n] = w
	}
	if rules[name] = want; want == NoPreference || want < Prohibit || want > Require {
		delete(rules, name)
	}
	var names []string
	for n := range rules {
		names = append(names, n)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, n := range names {
		b.WriteString(n + "/" + letters[rules[n]-Prohibit:][:1] + "/") // no name of an interface has a slash
	}
	return SelectionProperties{b.String()}
}

// all yields the preferences by name.
func (p SelectionProperties) all(yield func(string, Preference) bool) {
	rest := p.rules
	for rest != "" {
		var name, letter string
		name, rest, _ = strings.Cut(rest, "/")
		letter, rest, _ = strings.Cut(rest, "/")
		if !yield(name, Preference(strings.Index(letters, letter))+Prohibit) {
			return
		}
	}
}

// Interface returns the preference for the interface of that name.
func (p SelectionProperties) Interface(name string) Preference {
	for n, want := range p.all {
		if n == name {
			return want
		}
	}
	return NoPreference
}

// IsZero tells whether p says nothing.
func (p SelectionProperties) IsZero() bool { return p.rules == "" }

// Strict tells whether p requires or prohibits something.
func (p SelectionProperties) Strict() bool {
	for _, want := range p.all {
		if want == Require || want == Prohibit {
			return true
		}
	}
	return false
}

// Merge returns p, completed by what other says about further interfaces.
func (p SelectionProperties) Merge(other SelectionProperties) SelectionProperties {
	for n, want := range other.all {
		if p.Interface(n) == NoPreference {
			p = p.WithInterface(n, want)
		}
	}
	return p
}

// String lists the preferences, as "prefer wlan0, prohibit wwan0".
func (p SelectionProperties) String() string {
	var parts []string
	for n, want := range p.all {
		parts = append(parts, want.String()+" "+n)
	}
	return strings.Join(parts, ", ")
}

type selectionKey struct{}

// WithSelection returns a context that carries p for the connections that are
// dialled with it. It replaces what ctx carried.
func WithSelection(ctx context.Context, p SelectionProperties) context.Context {
	return context.WithValue(ctx, selectionKey{}, p)
}

// Selection returns what WithSelection put into ctx, the zero value if nothing.
func Selection(ctx context.Context) SelectionProperties {
	p, _ := ctx.Value(selectionKey{}).(SelectionProperties)
	return p
}

// selection is what holds for a dial with ctx.
func (d *Dialer) selection(ctx context.Context) SelectionProperties {
	return Selection(ctx).Merge(d.Selection)
}

// permits tells why an interface may not be used; "" is an unknown one.
func (p SelectionProperties) permits(name string) error {
	required := false
	for n, want := range p.all {
		switch {
		case want == Prohibit && n == name:
			return fmt.Errorf("%w: %s is prohibited", ErrNotPermitted, name)
		case want == Require && n == name:
			return nil
		}
		required = required || want == Require
	}
	switch {
	case !p.Strict():
		return nil
	case name == "":
		return fmt.Errorf("%w: the network is not known (%v)", ErrNotPermitted, p)
	case required:
		return fmt.Errorf("%w: %s is not what is required (%v)", ErrNotPermitted, name, p)
	}
	return nil
}

// interfaceOf is the interface that a socket uses which is bound to device or to
// local, and connected to remote; "" if it is not known.
func interfaceOf(device string, local, remote netip.Addr) string {
	local = local.Unmap().WithZone("")
	loopback := remote.IsLoopback() || local.IsLoopback()
	if device != "" {
		return device
	}
	if !loopback && (!local.IsValid() || local.IsUnspecified()) {
		return ""
	}
	list, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, i := range list {
		if loopback {
			if i.Flags&net.FlagLoopback != 0 {
				return i.Name
			}
			continue
		}
		addrs, _ := i.Addrs()
		if slices.ContainsFunc(addrs, func(a net.Addr) bool {
			prefix, err := netip.ParsePrefix(a.String())
			return err == nil && prefix.Addr().Unmap() == local
		}) {
			return i.Name
		}
	}
	return ""
}

// choose leaves the candidates that are permitted, the preferred ones first, and
// notes the others.
func (p *plan) choose() {
	s := p.target.selection
	if s.IsZero() {
		return
	}
	ranks := make(map[*candidate]Preference)
	var kept []*candidate
	for _, c := range p.candidates {
		name := p.target.interfaceOf(c, netip.Addr{})
		if len(c.addrs) > 0 {
			name = p.target.interfaceOf(c, c.addrs[0].Addr())
		}
		if err := s.permits(name); err != nil {
			p.refused = append(p.refused, Attempt{Candidate: c.index, Source: c.local, Device: c.device, Err: err})
			continue
		}
		ranks[c] = s.Interface(name)
		kept = append(kept, c)
	}
	slices.SortStableFunc(kept, func(a, b *candidate) int { return int(ranks[b]) - int(ranks[a]) })
	p.candidates = kept
}

func (t *target) interfaceOf(c *candidate, remote netip.Addr) string {
	local := c.local
	if t.bound.IsValid() {
		local = t.bound.Addr()
	}
	return interfaceOf(c.device, local, remote)
}

// held are c's options with a binding to the interface that may not fail. What
// goes to this host itself needs none.
func (c *candidate) held(name string, remote netip.Addr) []wire.SockOpt {
	if remote.IsLoopback() || c.local.IsLoopback() {
		return c.options
	}
	var options []wire.SockOpt
	for _, o := range c.options {
		if o.Level != wire.SolSocket || o.Name != wire.SoBindToDevice {
			options = append(options, o)
		}
	}
	return append(options, wire.SockOpt{Level: wire.SolSocket, Name: wire.SoBindToDevice, Value: []byte(name)})
}

// strict tells whether a network has to be known before it may be used.
func (t *target) strict() bool { return t.only || t.selection.Strict() }

// permits tells why an interface may not be used; "" is an unknown one.
func (t *target) permits(name string) error {
	if err := t.selection.permits(name); err != nil {
		return err
	}
	if t.only && name == "" {
		return errOutside
	}
	return nil
}

// permitsConn tells whether an existing connection may be used.
func (t *target) permitsConn(info *Info) bool {
	return !t.selection.Strict() || !info.Multipath && t.selection.permits(interfaceOf(info.Device, info.Local.Addr(), info.Remote.Addr())) == nil
}

// plainly tells whether the last resort may be tried: for addresses of this host
// only, if it matters.
func (t *target) plainly() bool {
	return !t.strict() || !t.only && t.literal.IsLoopback() && t.selection.permits(interfaceOf("", t.literal, t.literal)) == nil
}
