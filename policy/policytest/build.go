package policytest

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
)

// Now is the time of every request and of every figure that this package makes.
// It is the same in each run, so that tests can name it.
func Now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// Prefix returns the prefix around an address of the host on an interface:
// Prefix("wlan0", "192.0.2.7/24") is 192.0.2.0/24 with the one address 192.0.2.7.
// It is up, free of charge and not measured; the edits, applied in their order,
// say what is different. It panics if addr does not parse.
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

// Named is an edit that sets what the configuration calls the prefix's network.
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

// RoundTrip is an edit that sets what is measured of the prefix's connections:
// their number, and the minimum and the median of their round-trip times, where
// zero is unknown.
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

// Request returns a request of the given kind for port 80 of www.example.net, by
// user 1000, with the given candidates. A Connect request has an address besides,
// 203.0.113.80, or 2001:db8:80::80 if the first candidate is IPv6.
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

// Intents states what the application intends, in the words that the programs take:
// "category=query,filesize=64KiB". It returns r, so that it can stand in a table. It
// panics if intent.Parse does not take the text.
func Intents(r *policy.Request, text string) *policy.Request {
	set, err := intent.Parse(text)
	if err != nil {
		panic("policytest: " + err.Error())
	}
	r.Intents = set.Merge(r.Intents)
	return r
}

// Bind makes r a request whose socket the application has bound to the address of
// p, and returns it.
func Bind(r *policy.Request, p *policy.Prefix) *policy.Request {
	r.Bound, r.BoundPrefix = p.Addr(), p
	return r
}

// Aside makes r a request, which should have no candidates, whose destination is reached
// in a way of its own, as this host itself or the bridge of containers is. It returns r.
func Aside(r *policy.Request) *policy.Request {
	r.Aside = true
	return r
}

// Offer offers one idle socket on each of the given prefixes, numbered from 5 on,
// and returns r, which should be of kind SocketChoose.
func Offer(r *policy.Request, on ...*policy.Prefix) *policy.Request {
	for i, p := range on {
		r.Sockets = append(r.Sockets, policy.Socket{FD: int32(5 + i), Local: p.Addr(), Prefix: p})
	}
	return r
}

// Carry states that p, one of the candidates, carries so many live connections of the
// user who asks, and so many of them of the program that asks. It returns r. The
// other candidates carry none, unless it is called for them too. It panics if p is no
// candidate.
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

// Settings makes the settings that a block, such as `prefix "192.0.2.0/24"`, holds
// one a line, from texts as Config takes them: for Config.PrefixSettings and for
// tests of where an error is said to be.
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
