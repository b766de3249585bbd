// Package policytest builds the prefixes, requests and configurations that the
// tests of the policies need, in a line each.
package policytest

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
)

// Now is the time of every request.
var Now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Prefix returns the prefix around addr ("10.0.1.2/24") on the interface name.
func Prefix(name, addr string, edits ...func(*policy.Prefix)) *policy.Prefix {
	a := netip.MustParsePrefix(addr)
	p := &policy.Prefix{
		ID:        policy.PrefixID{Interface: name, Prefix: a.Masked()},
		Interface: name,
		CIDR:      a.Masked(),
		Addrs:     []netip.Addr{a.Addr()},
	}
	for _, edit := range edits {
		edit(p)
	}
	return p
}

// Default marks a prefix as default.
func Default(p *policy.Prefix) { p.Default = true }

// Option sets a prefix's setting.
func Option(name, value string) func(*policy.Prefix) {
	return func(p *policy.Prefix) {
		if p.Options == nil {
			p.Options = policy.Options{}
		}
		p.Options[name] = policy.NewOption(value)
	}
}

// RTT sets minimum and median round-trip time in milliseconds, and the number of
// connections.
func RTT(minimum, median float64, conns int) func(*policy.Prefix) {
	return func(p *policy.Prefix) {
		p.Stats.Time, p.Stats.SampleTime = Now, Now
		p.Stats.SRTTMin = Milliseconds(minimum)
		p.Stats.SRTTMedian = Milliseconds(median)
		p.Stats.Conns = conns
	}
}

// Down sets the highest recent and the current download rate in bytes per second.
func Down(highest, current policy.BytesPerSecond) func(*policy.Prefix) {
	return func(p *policy.Prefix) {
		p.Link.Time, p.Link.DownRateMaxTime = Now, Now
		p.Link.DownRateMax, p.Link.DownRate = highest, current
	}
}

// SMA sets the maxima of the smoothed download rate over the four windows.
func SMA(short, mid, long, veryLong policy.BytesPerSecond) func(*policy.Prefix) {
	return func(p *policy.Prefix) {
		p.Link.Time = Now
		p.Link.DownSMAMax = policy.Windowed{Short: short, Mid: mid, Long: long, VeryLong: veryLong}
	}
}

// Milliseconds converts a figure of the vectors.
func Milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// A and B are the two prefixes of situation S (doc/original/policies.md 9): a, default,
// short round-trip time, in use; b, idle, of five times the capacity.
func A(edits ...func(*policy.Prefix)) *policy.Prefix {
	return Prefix("a", "10.0.1.2/24", append([]func(*policy.Prefix){Default, RTT(20, 25, 2), Down(1250000, 100000)}, edits...)...)
}

// B is the other prefix of situation S.
func B(edits ...func(*policy.Prefix)) *policy.Prefix {
	return Prefix("b", "10.0.2.2/24", append([]func(*policy.Prefix){RTT(50, 60, 0), Down(6250000, 0)}, edits...)...)
}

// A6 and B6 are A and B with IPv6 addresses.
func A6(edits ...func(*policy.Prefix)) *policy.Prefix { return six(A(edits...), "2001:db8:1::2/64") }

// B6 is B with an IPv6 address.
func B6(edits ...func(*policy.Prefix)) *policy.Prefix { return six(B(edits...), "2001:db8:2::2/64") }

func six(p *policy.Prefix, addr string) *policy.Prefix {
	q := Prefix(p.Interface, addr)
	p.ID, p.CIDR, p.Addrs = q.ID, q.CIDR, q.Addrs
	return p
}

// Request returns a request with the given candidates.
func Request(kind policy.Kind, prefixes ...*policy.Prefix) *policy.Request {
	return &policy.Request{
		Kind:     kind,
		Host:     "www.example.net",
		Service:  "80",
		Port:     80,
		Prefixes: prefixes,
		App:      policy.App{UID: 1000, PID: 4711, Command: "test"},
		Now:      Now,
	}
}

// Bind makes r a request whose socket is bound to the address of p.
func Bind(r *policy.Request, p *policy.Prefix) *policy.Request {
	r.Bound, r.BoundPrefix = p.Addr(), p
	return r
}

// Offer offers one idle socket per given prefix, numbered from 5 on.
func Offer(r *policy.Request, on ...*policy.Prefix) *policy.Request {
	for i, p := range on {
		r.Sockets = append(r.Sockets, policy.Socket{FD: int32(5 + i), Local: p.Addr(), Prefix: p})
	}
	return r
}

// Settings makes settings from "name=value".
func Settings(block string, texts ...string) []policy.Setting {
	var list []policy.Setting
	for i, text := range texts {
		name, value, _ := strings.Cut(text, "=")
		list = append(list, policy.Setting{
			Name: name, Value: value, Expr: value, Constant: true, Block: block, File: "test.conf", Line: i + 1, Column: 3, ExprLine: i + 1, ExprColumn: 20,
		})
	}
	return list
}

// Refused checks that a policy is refused with an error that contains each of
// the given texts.
func Refused(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("the configuration was accepted")
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

// Case is a row of a table test of a policy. It is an alias, so that tables can do
// without field names.
type Case = struct {
	Name string
	R    *policy.Request
	Want Answer
	Log  string // line of the policy log
}

// Run lets a policy made by fresh decide on each row's request.
func Run(t *testing.T, fresh func(*testing.T) policy.Policy, cases []Case) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			p := fresh(t)
			d := p.Choose(c.R)
			if diff := cmp.Diff(c.Want, AnswerOf(d)); diff != "" {
				t.Errorf("Choose (-want +got):\n%s", diff)
			}
			if l, ok := p.(policy.LineLogger); ok {
				if got := l.LogLine(c.R, d); got != c.Log {
					t.Errorf("LogLine = %q, want %q", got, c.Log)
				}
			}
		})
	}
}

// Make returns a function for Run that makes the policy with the given settings.
func Make(constructor func(policy.Config) (policy.Policy, error), settings ...string) func(*testing.T) policy.Policy {
	return func(t *testing.T) policy.Policy {
		t.Helper()
		p, err := constructor(policy.Config{Settings: Settings(`policy "test"`, settings...)})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

// With states intents, pairs of option and value.
func With(r *policy.Request, pairs ...int64) *policy.Request {
	for i := 0; i < len(pairs); i += 2 {
		r.Intents = r.Intents.With(intent.Option(pairs[i]), pairs[i+1])
	}
	return r
}

// Size states the file size.
func Size(r *policy.Request, bytes int64) *policy.Request {
	r.Intents = r.Intents.WithFileSize(bytes)
	return r
}

// OverTLS makes r a request for service 443.
func OverTLS(r *policy.Request) *policy.Request {
	r.Service, r.Port = "443", 443
	return r
}

// Name gives the interface of p, "" for nil.
func Name(p *policy.Prefix) string {
	if p == nil {
		return ""
	}
	return p.Interface
}

// Names gives the interfaces of a list, joined by spaces.
func Names(list []*policy.Prefix) string {
	var names []string
	for _, p := range list {
		names = append(names, p.Interface)
	}
	return strings.Join(names, " ")
}

// Answer is the part of a decision that most table tests compare.
type Answer struct {
	Prefix     string // interface
	FD         int32  // of the reused socket, 0 for none
	Alternates string // interfaces, joined by spaces
	Multipath  bool
	Resolution policy.Resolution
	Reason     string
}

// AnswerOf extracts an Answer.
func AnswerOf(d policy.Decision) Answer {
	a := Answer{Prefix: Name(d.Prefix), Alternates: Names(d.Alternates), Multipath: d.Multipath, Resolution: d.Resolution, Reason: d.Reason}
	if d.Socket != nil {
		a.FD = d.Socket.FD
	}
	return a
}
