package policy

import (
	"net/netip"
	"time"
)

// Prefix is a local prefix on an interface, the unit of choice. It is immutable
// once published; a new measurement or a change of the host's networks makes
// new ones, with the same ID.
type Prefix struct {
	ID        PrefixID
	Interface string
	Index     int          // interface index in the kernel
	CIDR      netip.Prefix // masked
	// Name is what the configuration calls the network, "" if it has no name. The
	// prefixes of one network share it.
	Name string
	// Addrs are the host's addresses in the prefix, best first: policies bind
	// to the first one. Never empty.
	Addrs []netip.Addr
	// Default marks the prefix that is used where nothing speaks for another.
	Default bool
	Health  Health
	Cost    Cost
	Budget  Budget
	Options Options // the policy's settings of this prefix
	Stats   PathStats
	Link    LinkStats
	Wifi    *WifiStats // nil: no wireless link, or nothing known
}

// PrefixID is the identity of a prefix over time, the key of a policy's own
// counters. It is comparable.
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

// Addr is the address that policies bind to, the first one; invalid only for a
// Prefix that was never filled in.
func (p *Prefix) Addr() netip.Addr {
	if len(p.Addrs) == 0 {
		return netip.Addr{}
	}
	return p.Addrs[0]
}

// Health tells whether a prefix can be expected to work, with reason and time
// of the last change. The zero value means up, with nothing known against it.
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

// String is the state's word in output and logs: "up", "suspect", ...
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

// Cost says what traffic over a prefix costs its user.
type Cost uint8

// The costs, cheapest first.
const (
	Free Cost = iota
	Metered
	Expensive
)

// String is the cost's word in the configuration: "free", "metered" or "expensive".
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

// Budget is how much may be transferred over the prefix's interface in a month,
// and how much was. A prefix beyond its budget is Expensive. The zero value
// means no limit.
type Budget struct {
	Limit, Used uint64    // bytes, both directions together
	Reset       time.Time // when Used begins anew
}

// Options are a prefix's settings by name, parsed once when the configuration
// was read. The zero value has none. It must not be changed once published.
type Options map[string]Option

// Option is the value of one setting.
type Option struct {
	Text string
	// Number is what Text stands for: a number, or a quantity with its unit. Durations are
	// in milliseconds, amounts in bytes and rates in bytes per second, as in metrics.
	Number  float64
	Numeric bool // Text is a number or a quantity, and Number its value
}

// NewOption makes the Option of a text. It takes "300M", "20ms" and "10Mbit/s" for
// numbers, as intent.ParseSize, ParseDuration and ParseRate read them, but not "5m", which
// could be minutes or million bytes. [Config.CheckPrefixes] has seen to it that the kind of
// quantity is the right one.
func NewOption(text string) Option {
	n, _, ok := readNumber(text)
	return Option{Text: text, Number: n, Numeric: ok}
}

// Has tells whether the setting is present, with any value.
func (o Options) Has(name string) bool { _, ok := o[name]; return ok }

// Text returns the setting's text, "" if absent.
func (o Options) Text(name string) string { return o[name].Text }

// Number returns the setting's value and whether it is present and a number.
func (o Options) Number(name string) (float64, bool) {
	v, ok := o[name]
	return v.Number, ok && v.Numeric
}
