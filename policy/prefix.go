package policy

import (
	"net/netip"
	"time"
)

// Prefix is a local prefix on an interface, which is the unit that policies choose. It
// is immutable once published. A new measurement or a change of the host's networks
// makes new Prefixes with the same ID.
type Prefix struct {
	ID        PrefixID
	Interface string
	Index     int          // interface index in the kernel
	CIDR      netip.Prefix // masked
	// Name is the name that the configuration gives the network, "" if none. All
	// prefixes of one network share it.
	Name string
	// Addrs are the host's addresses in the prefix, best first. Policies bind to the
	// first one. There is always at least one.
	Addrs []netip.Addr
	// Default marks the prefix that is used unless something speaks for another.
	Default bool
	Health  Health
	Cost    Cost
	Budget  Budget
	Options Options // the settings that the policy has for this prefix
	Stats   PathStats
	Link    LinkStats
	Wifi    *WifiStats // nil: not wireless, or nothing known
}

// PrefixID identifies a prefix over time. A policy can use it as the key of its own
// counters, since it is comparable.
type PrefixID struct {
	Interface string
	Prefix    netip.Prefix // masked
}

// String has the form prefix%interface, as in 192.0.2.0/24%wlan0.
func (id PrefixID) String() string { return id.Prefix.String() + "%" + id.Interface }

// Family is the address family of the prefix.
func (p *Prefix) Family() Family { return FamilyOf(p.CIDR.Addr()) }

// Contains tells whether a lies in the prefix. An address of the other family
// never does.
func (p *Prefix) Contains(a netip.Addr) bool { return p.CIDR.Contains(a.WithZone("")) }

// Addr is the address that policies bind to: the first one. It is invalid only for a
// Prefix that was never filled in.
func (p *Prefix) Addr() netip.Addr {
	if len(p.Addrs) == 0 {
		return netip.Addr{}
	}
	return p.Addrs[0]
}

// Health tells whether a prefix is expected to work, and the reason and the time of the
// last change. The zero value means up: nothing is known against the prefix.
type Health struct {
	State  HealthState
	Reason string // for people; "" while up
	Since  time.Time
}

// HealthState is the state of a prefix.
type HealthState uint8

// The states. Prefixes that are Down are offered only if nothing else is left.
const (
	Up HealthState = iota
	Suspect
	Down
)

// String is the word for the state in output and logs: "up", "suspect", ...
func (h HealthState) String() string {
	switch h {
	case Up:
		return "up"
	case Suspect:
		return "suspect"
	case Down:
		return "down"
	}
	return "unknown"
}

// Cost says what traffic over a prefix costs the user.
type Cost uint8

// The costs, cheapest first.
const (
	Free Cost = iota
	Metered
	Expensive
)

// String is the word for the cost in the configuration: "free", "metered" or
// "expensive".
func (c Cost) String() string {
	switch c {
	case Free:
		return "free"
	case Metered:
		return "metered"
	case Expensive:
		return "expensive"
	}
	return "unknown"
}

// Budget is how many bytes may be transferred over the prefix's interface in a month,
// and how many were. A prefix beyond its budget is Expensive. The zero value means no
// limit.
type Budget struct {
	Limit, Used uint64    // bytes, both directions together
	Reset       time.Time // when Used starts at zero again
}

// Options are a prefix's settings by name. They were parsed once, when the
// configuration was read. The zero value has none. Options must not be changed once
// published.
type Options map[string]Option

// Option is the value of one setting.
type Option struct {
	Text string
	// Number is the value of Text, if that is a number or a quantity with a unit.
	// Durations are in milliseconds, amounts in bytes and rates in bytes per second, as
	// in metrics.
	Number  float64
	Numeric bool // Text is a number or a quantity, so Number has its value
}

// NewOption makes the Option of a text. It reads "300M", "20ms" and "10Mbit/s" as
// numbers, as intent.ParseSize, ParseDuration and ParseRate do. It does not read "5m",
// which could mean minutes or million bytes. It does not check that the kind of
// quantity fits the setting; [Config.CheckPrefixes] has done that before.
func NewOption(text string) Option {
	n, _, ok := readNumber(text)
	return Option{Text: text, Number: n, Numeric: ok}
}

// Has tells whether the setting is present, whatever its value.
func (o Options) Has(name string) bool { _, ok := o[name]; return ok }

// Text returns the setting's text, "" if absent.
func (o Options) Text(name string) string { return o[name].Text }

// Number returns the value of a setting, and whether the setting is present and a
// number.
func (o Options) Number(name string) (float64, bool) {
	v, ok := o[name]
	return v.Number, ok && v.Numeric
}
