package policytest

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
)

// Now is the time of every request and of every figure that this package makes. It is
// fixed, so that tests can compare with it.
func Now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// Prefix returns the prefix around an address of the host on an interface.
// Prefix("wlan0", "192.0.2.7/24") is 192.0.2.0/24 with the single address 192.0.2.7.
// The prefix is up, free of charge and not measured; the edits change that, in their
// order. Prefix panics if addr does not parse.
func Prefix(iface, addr string, edits ...func(*policy.Prefix)) *policy.Prefix {
	a := netip.MustParsePrefix(addr)
	p := &policy.Prefix{
		ID:        policy.PrefixID{Interface: iface, Prefix: a.Masked()},
		Interface: iface,
		CIDR:      a.Masked(),
		Addrs:     []netip.Addr{a.Addr()},
	}
	for _, edit := range edits {
		edit(p)
	}
	return p
}

// Default is an edit that marks the prefix as default.
func Default(p *policy.Prefix) { p.Default = true }

// Health is an edit that sets the prefix's state, with the reason "test" where it
// is not up.
func Health(state policy.HealthState) func(*policy.Prefix) {
	return func(p *policy.Prefix) {
		p.Health = policy.Health{State: state}
		if state != policy.Up {
			p.Health.Reason, p.Health.Since = "test", Now()
		}
	}
}

// Named is an edit that sets the name which the configuration gives the prefix's
// network.
func Named(name string) func(*policy.Prefix) {
	return func(p *policy.Prefix) { p.Name = name }
}

// Cost is an edit that sets what the prefix costs.
func Cost(c policy.Cost) func(*policy.Prefix) {
	return func(p *policy.Prefix) { p.Cost = c }
}

// Option is an edit that sets one of the prefix's settings, as if its block in the
// configuration held name = value.
func Option(name, value string) func(*policy.Prefix) {
	return func(p *policy.Prefix) {
		if p.Options == nil {
			p.Options = policy.Options{}
		}
		p.Options[name] = policy.NewOption(value)
	}
}

// RoundTrip is an edit that sets the measurements of the prefix's connections: their
// number, and the minimum and the median of their round-trip times. A time of zero
// means unknown.
func RoundTrip(minimum, median time.Duration, conns int) func(*policy.Prefix) {
	return func(p *policy.Prefix) {
		p.Stats.Time, p.Stats.SampleTime = Now(), Now()
		p.Stats.SRTTMin, p.Stats.SRTTMedian = minimum, median
		p.Stats.Conns = conns
	}
}

// Download is an edit that sets the highest recent and the current download rate
// of the prefix's link.
func Download(highest, current policy.BytesPerSecond) func(*policy.Prefix) {
	return func(p *policy.Prefix) {
		p.Link.Time, p.Link.DownRateMaxTime = Now(), Now()
		p.Link.DownRateMax, p.Link.DownRate = highest, current
	}
}

// Request returns a request of the given kind for port 80 of www.example.net, by user
// 1000, with the given candidates. A Connect request also has an address: 203.0.113.80,
// or 2001:db8:80::80 if the first candidate is IPv6.
func Request(kind policy.Kind, prefixes ...*policy.Prefix) *policy.Request {
	r := &policy.Request{
		Kind:     kind,
		Host:     "www.example.net",
		Service:  "80",
		Port:     80,
		Prefixes: prefixes,
		App:      policy.App{UID: 1000, PID: 4711, Command: "test"},
		Now:      Now(),
	}
	if kind == policy.Connect {
		remote := netip.MustParseAddr("203.0.113.80")
		if len(prefixes) > 0 && prefixes[0].Family() == policy.IPv6 {
			remote = netip.MustParseAddr("2001:db8:80::80")
		}
		r.Remote = netip.AddrPortFrom(remote, r.Port)
	}
	return r
}

// Intents adds the application's intents to r, in the words that the programs take:
// "category=query,filesize=64KiB". It returns r, for use in tables. It panics if
// intent.Parse does not accept the text.
func Intents(r *policy.Request, text string) *policy.Request {
	set, err := intent.Parse(text)
	if err != nil {
		panic("policytest: " + err.Error())
	}
	r.Intents = set.Merge(r.Intents)
	return r
}

// Bind turns r into a request whose socket the application has bound to the address of
// p. It returns r.
func Bind(r *policy.Request, p *policy.Prefix) *policy.Request {
	r.Bound, r.BoundPrefix = p.Addr(), p
	return r
}

// Aside turns r into a request whose destination no managed network leads to, such as
// this host itself or a bridge of containers. Such a request should have no candidates.
// Aside returns r.
func Aside(r *policy.Request) *policy.Request {
	r.Aside = true
	return r
}

// Offer adds to r one idle socket on each of the given prefixes, numbered from 5 on. r
// should be of kind SocketChoose. Offer returns r.
func Offer(r *policy.Request, on ...*policy.Prefix) *policy.Request {
	for i, p := range on {
		r.Sockets = append(r.Sockets, policy.Socket{FD: int32(5 + i), Local: p.Addr(), Prefix: p})
	}
	return r
}

// Carry states how many live connections candidate p carries of the user and of the
// program that ask. Candidates for which Carry is not called carry none. Carry returns
// r, and panics if p is not a candidate.
func Carry(r *policy.Request, p *policy.Prefix, user, program int) *policy.Request {
	if r.Connections == nil {
		r.Connections = make([]policy.Connections, len(r.Prefixes))
	}
	r.Connections[slices.Index(r.Prefixes, p)] = policy.Connections{User: user, Program: program}
	return r
}

// Config makes the configuration of a policy from settings of the form
// "name=value". A value in brackets is a list: "ports=[22, 5060]".
func Config(settings ...string) policy.Config {
	return policy.Config{Name: "test", Settings: Settings(`policy "test"`, settings...)}
}

// Settings makes the settings of a block, such as `prefix "192.0.2.0/24"`, which holds
// one per line. The texts have the form that Config takes. Settings serves as
// Config.PrefixSettings, and in tests of the position that an error names.
func Settings(block string, texts ...string) []policy.Setting {
	var list []policy.Setting
	for i, text := range texts {
		name, value, _ := strings.Cut(text, "=")
		s := policy.Setting{
			Name: name, Value: value, Expr: value, Constant: true,
			Block: block, File: "test.conf", Line: i + 1, Column: 3, ExprLine: i + 1, ExprColumn: 20,
		}
		if inner, ok := strings.CutPrefix(value, "["); ok && strings.HasSuffix(inner, "]") {
			s.Value, s.List = "", []string{}
			for element := range strings.SplitSeq(strings.TrimSuffix(inner, "]"), ",") {
				if element = strings.TrimSpace(element); element != "" {
					s.List = append(s.List, element)
				}
			}
		}
		list = append(list, s)
	}
	return list
}
