package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/socket-intents/mamma/internal/wire"
)

// Preference says how much something is wanted (RFC 9622, section 6.2).
type Preference int8

// The preferences, from the strongest against to the strongest for. The zero value is
// NoPreference.
const (
	Prohibit     Preference = -2 // rather no connection than one with it
	Avoid        Preference = -1 // only after others
	NoPreference Preference = 0
	Prefer       Preference = 1 // before others
	Require      Preference = 2 // rather no connection than one without it
)

// String gives the word of RFC 9622 in lower case.
func (p Preference) String() string {
	names := [...]string{"prohibit", "avoid", "no preference", "prefer", "require"}
	if i := int(p) - int(Prohibit); i >= 0 && i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("preference %d", int8(p))
}

// ErrNotPermitted is found by errors.Is in the error of a dial for which the
// SelectionProperties leave no network.
var ErrNotPermitted = errors.New("no network that the selection properties permit")

// Cost is what traffic over a network costs its user, as the manager's configuration
// and the network's budget say.
type Cost uint8

// The costs, cheapest first.
const (
	CostFree      Cost = 0
	CostMetered   Cost = 1
	CostExpensive Cost = 2 // also a network that has used up its budget
)

// String gives the word of the manager's configuration: "free", "metered" or
// "expensive".
func (c Cost) String() string {
	switch c {
	case CostFree:
		return "free"
	case CostMetered:
		return "metered"
	case CostExpensive:
		return "expensive"
	}
	return fmt.Sprintf("cost %d", uint8(c))
}

// SelectionProperties say which networks a connection may take. A network is named by
// its interface, by the name that the manager's configuration gives it, or by its cost.
// "mammactl prefixes" shows all three.
//
// Prefer and Avoid order the manager's suggestions. A network with several preferences
// in its favour comes before one with a single one.
//
// Require and Prohibit are always kept; if they cannot be, the dial fails with
// ErrNotPermitted, also if there is no manager. An unknown network then counts as not
// permitted. So there is no plain dial, only the manager resolves names, sockets are
// bound to the interface, and Multipath TCP is not used, because it may add networks
// later. If several interfaces are required, one of them suffices; the same holds for
// names and for costs. If interfaces and costs are required, a network needs both. This
// host itself is reached over its loopback interface, which is free and has no name.
//
// Only the manager knows names and costs. If it is not there or does not tell them, as
// the daemon of the Socket Intents prototype, then preferences by name or cost have no
// effect, and requirements or prohibitions by name or cost fail with ErrNotPermitted.
// Preferences by interface are kept all the same.
//
// There can be 32 preferences, with names of at most 255 bytes. Dials with more fail.
//
// The zero value says nothing. Values can be compared, and do not change.
type SelectionProperties struct {
	rules string // encoded by rule.append, and sorted
}

// rule is one preference.
type rule struct {
	kind wire.PreferenceKind
	name string
	want Preference
}

// append encodes r, so that equal SelectionProperties are equal strings. The encoding
// has lengths, because a name may hold any byte.
func (r *rule) append(b []byte) []byte {
	b = append(b, byte(r.kind), byte(r.want))
	b = strconv.AppendInt(b, int64(len(r.name)), 10)
	return append(append(b, ':'), r.name...)
}

// all yields the preferences, by kind and name.
func (p SelectionProperties) all(yield func(rule) bool) {
	for rest := p.rules; rest != ""; {
		r := rule{kind: wire.PreferenceKind(rest[0]), want: Preference(int8(rest[1]))}
		length, after, _ := strings.Cut(rest[2:], ":")
		n, _ := strconv.Atoi(length)
		r.name, rest = after[:n], after[n:]
		if !yield(r) {
			return
		}
	}
}

// with returns p with one preference replaced.
func (p SelectionProperties) with(kind wire.PreferenceKind, name string, want Preference) SelectionProperties {
	var rules []rule
	for r := range p.all {
		if r.kind != kind || r.name != name {
			rules = append(rules, r)
		}
	}
	if want != NoPreference && want >= Prohibit && want <= Require {
		rules = append(rules, rule{kind, name, want})
	}
	slices.SortFunc(rules, func(a, b rule) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name))
	})
	var b []byte
	for i := range rules {
		b = rules[i].append(b)
	}
	return SelectionProperties{string(b)}
}

// WithInterface returns p with a preference for the interface of that name. It replaces
// an earlier preference for this interface; NoPreference removes it.
func (p SelectionProperties) WithInterface(name string, want Preference) SelectionProperties {
	return p.with(wire.ByInterface, name, want)
}

// WithNetwork returns p with a preference for the network that has this name in the
// manager's configuration. It replaces an earlier preference for this network;
// NoPreference removes it.
func (p SelectionProperties) WithNetwork(name string, want Preference) SelectionProperties {
	return p.with(wire.ByNetwork, name, want)
}

// WithCost returns p with a preference for networks of this cost. It replaces an
// earlier preference for this cost; NoPreference removes it.
func (p SelectionProperties) WithCost(c Cost, want Preference) SelectionProperties {
	return p.with(wire.ByCost, c.String(), want)
}

// Interface returns the preference for the interface of that name.
func (p SelectionProperties) Interface(name string) Preference { return p.get(wire.ByInterface, name) }

// Network returns the preference for the network of that name.
func (p SelectionProperties) Network(name string) Preference { return p.get(wire.ByNetwork, name) }

// Cost returns the preference for networks of this cost.
func (p SelectionProperties) Cost(c Cost) Preference { return p.get(wire.ByCost, c.String()) }

func (p SelectionProperties) get(kind wire.PreferenceKind, name string) Preference {
	for r := range p.all {
		if r.kind == kind && r.name == name {
			return r.want
		}
	}
	return NoPreference
}

// IsZero tells whether p says nothing.
func (p SelectionProperties) IsZero() bool { return p.rules == "" }

// Strict tells whether p requires or prohibits something.
func (p SelectionProperties) Strict() bool {
	for r := range p.all {
		if r.strict() {
			return true
		}
	}
	return false
}

// needsManager tells whether p requires or prohibits something that only the manager
// knows.
func (p SelectionProperties) needsManager() bool {
	for r := range p.all {
		if r.strict() && r.kind != wire.ByInterface {
			return true
		}
	}
	return false
}

// ranksByManager tells whether p prefers or avoids something that only the manager
// knows.
func (p SelectionProperties) ranksByManager() bool {
	for r := range p.all {
		if !r.strict() && r.kind != wire.ByInterface {
			return true
		}
	}
	return false
}

func (r *rule) strict() bool { return r.want == Require || r.want == Prohibit }

// Merge returns p, completed by other's preferences for interfaces, networks and costs
// that p does not mention.
func (p SelectionProperties) Merge(other SelectionProperties) SelectionProperties {
	for r := range other.all {
		if p.get(r.kind, r.name) == NoPreference {
			p = p.with(r.kind, r.name, r.want)
		}
	}
	return p
}

// String lists the preferences, as in "prefer wlan0, require network home, prohibit
// cost expensive".
func (p SelectionProperties) String() string {
	var parts []string
	for r := range p.all {
		if r.kind == wire.ByInterface {
			parts = append(parts, r.want.String()+" "+r.name)
			continue
		}
		parts = append(parts, r.want.String()+" "+r.kind.String()+" "+r.name)
	}
	return strings.Join(parts, ", ")
}

// onWire returns the preferences in the form that is sent to the manager.
func (p SelectionProperties) onWire() []wire.Preference {
	var list []wire.Preference
	for r := range p.all {
		list = append(list, wire.Preference{Kind: r.kind, Want: wire.Want(r.want), Name: r.name})
	}
	return list
}

// check tells why the preferences cannot be sent to the manager.
func (p SelectionProperties) check() error {
	n := 0
	for r := range p.all {
		if n++; n > wire.MaxPreferences {
			return fmt.Errorf("selection properties: more than %d preferences", wire.MaxPreferences)
		}
		if len(r.name) > wire.MaxPreferenceName {
			return fmt.Errorf("selection properties: a name of more than %d bytes", wire.MaxPreferenceName)
		}
	}
	return nil
}

type selectionKey struct{}

// WithSelection returns a context that carries p for the connections that are
// dialled with it. It replaces what ctx carried.
func WithSelection(ctx context.Context, p SelectionProperties) context.Context {
	return context.WithValue(ctx, selectionKey{}, p)
}

// Selection returns the properties that WithSelection put into ctx, or the zero value.
func Selection(ctx context.Context) SelectionProperties {
	p, _ := ctx.Value(selectionKey{}).(SelectionProperties)
	return p
}

// selection returns the properties that hold for a dial with ctx.
func (d *Dialer) selection(ctx context.Context) SelectionProperties {
	return Selection(ctx).Merge(d.Selection)
}

// site is what the client knows about the network that a socket is on.
type site struct {
	device   string // the interface; "": unknown
	loopback bool
	// vouched tells that the manager has checked the network's name and cost, and that
	// both are permitted.
	vouched bool
}

// permits returns an error if p forbids the site.
func (p SelectionProperties) permits(at site) error {
	if !p.Strict() {
		return nil
	}
	if at.device == "" {
		return fmt.Errorf("%w: the network is not known (%v)", ErrNotPermitted, p)
	}
	var required, met [wire.ByCost + 1]bool
	for r := range p.all {
		if !r.strict() {
			continue
		}
		is, known := at.is(r)
		switch {
		case !known:
			return fmt.Errorf("%w: the manager has not said what %s is (%v)", ErrNotPermitted, at.device, p)
		case is && r.want == Prohibit:
			return fmt.Errorf("%w: %s is prohibited (%v)", ErrNotPermitted, at.device, p)
		case r.want == Require:
			required[r.kind] = true
			met[r.kind] = met[r.kind] || is
		}
	}
	if required != met {
		return fmt.Errorf("%w: %s is not what is required (%v)", ErrNotPermitted, at.device, p)
	}
	return nil
}

// is tells whether rule r, which requires or prohibits, is about the site, and whether
// the client knows that. As to names and costs, a site that the manager vouches for meets
// every requirement and no prohibition.
func (at site) is(r rule) (is, known bool) {
	switch {
	case r.kind == wire.ByInterface:
		return r.name == at.device, true
	case at.loopback:
		return r.kind == wire.ByCost && r.name == CostFree.String(), true
	}
	return r.want == Require, at.vouched
}

// siteOf returns the site of a socket that is bound to device or to local, and
// connected to remote.
func siteOf(device string, local, remote netip.Addr) site {
	local = local.Unmap().WithZone("")
	loopback := remote.IsLoopback() || local.IsLoopback()
	if device != "" {
		return site{device: device}
	}
	if !loopback && (!local.IsValid() || local.IsUnspecified()) {
		return site{}
	}
	list, err := net.Interfaces()
	if err != nil {
		return site{}
	}
	for _, i := range list {
		if loopback {
			if i.Flags&net.FlagLoopback != 0 {
				return site{device: i.Name, loopback: true}
			}
			continue
		}
		addrs, _ := i.Addrs()
		if slices.ContainsFunc(addrs, func(a net.Addr) bool {
			prefix, err := netip.ParsePrefix(a.String())
			return err == nil && prefix.Addr().Unmap() == local
		}) {
			return site{device: i.Name}
		}
	}
	return site{}
}

// choose drops the candidates that are not permitted, and notes them. It moves the
// preferred ones to the front. If preferences by name or cost exist, it keeps the
// manager's order, since only the manager knows these.
func (p *plan) choose() {
	s := p.target.selection
	if s.IsZero() {
		return
	}
	ranks := make(map[*candidate]Preference)
	var kept []*candidate
	for _, c := range p.candidates {
		remote := netip.Addr{}
		if len(c.addrs) > 0 {
			remote = c.addrs[0].Addr()
		}
		at := p.target.siteOf(c, remote)
		if err := s.permits(at); err != nil {
			p.refused = append(p.refused, Attempt{Candidate: c.index, Source: c.local, Device: c.device, Err: err})
			continue
		}
		ranks[c] = s.Interface(at.device)
		kept = append(kept, c)
	}
	if !p.target.vouched || !s.ranksByManager() {
		slices.SortStableFunc(kept, func(a, b *candidate) int { return int(ranks[b]) - int(ranks[a]) })
	}
	p.candidates = kept
}

// siteOf returns the site that a socket for c would have.
func (t *target) siteOf(c *candidate, remote netip.Addr) site {
	local := c.local
	if t.bound.IsValid() {
		local = t.bound.Addr()
	}
	at := siteOf(c.device, local, remote)
	switch {
	case !t.vouched || c.index == plain:
	case c.local.IsValid():
		at.vouched, at.loopback = true, false // the manager has a network there, even if that is loopback
	default:
		at.vouched = !at.loopback
	}
	return at
}

// held returns c's options, plus a binding to the interface that must not fail.
// Connections to this host itself need no binding.
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

// strict tells whether a network must be known before it may be used.
func (t *target) strict() bool { return t.only || t.selection.Strict() }

// permits returns an error if a site may not be used.
func (t *target) permits(at site) error {
	if err := t.selection.permits(at); err != nil {
		return err
	}
	if t.only && at.device == "" {
		return errOutside
	}
	return nil
}

// permitsConn tells whether an idle connection may be offered to the manager for reuse.
// The manager then judges the name and the present cost of its network.
func (t *target) permitsConn(info *Info) bool {
	if !t.selection.Strict() {
		return true
	}
	at := siteOf(info.Device, info.Local.Addr(), info.Remote.Addr())
	at.vouched, at.loopback = true, false
	return !info.Multipath && t.selection.permits(at) == nil
}

// plainly tells whether the plain dial may be tried as the last resort. If networks are
// restricted, it may only for addresses of this host.
func (t *target) plainly() bool {
	return !t.sole && (!t.strict() || !t.only && t.literal.IsLoopback() && t.selection.permits(siteOf("", t.literal, t.literal)) == nil)
}
