package scopes

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/rules"
	"github.com/socket-intents/mamma/internal/scopes/hook"
)

// lookUp finds a variant as the programs in the kernel do.
func lookUpVariant(t *testing.T, r *hook.Rules, to netip.AddrPort, command string) hook.Variant {
	t.Helper()
	if r == nil {
		return 0
	}
	fits := ^hook.Fits(0)
	if len(r.Ports) > 0 {
		var best *hook.PortFits
		for i, p := range r.Ports {
			if shift := 16 - p.Bits; to.Port()>>shift == p.Port>>shift && (best == nil || p.Bits > best.Bits) {
				best = &r.Ports[i]
			}
		}
		fits &= best.Fits
	}
	if len(r.Networks) > 0 {
		var best *hook.NetworkFits
		for i, n := range r.Networks {
			if n.Network.Contains(to.Addr()) && (best == nil || n.Network.Bits() > best.Network.Bits()) {
				best = &r.Networks[i]
			}
		}
		fits &= best.Fits
	}
	if len(r.Commands) > 0 {
		at := slices.IndexFunc(r.Commands, func(c hook.CommandFits) bool { return c.Command == command })
		if at < 0 {
			at = slices.IndexFunc(r.Commands, func(c hook.CommandFits) bool { return c.Command == "" })
		}
		fits &= r.Commands[at].Fits
	}
	for _, v := range r.Variants {
		if v.Fits == fits {
			return v.Variant
		}
	}
	return 0
}

// random is a small world of ports, networks and commands, so that rules overlap.
type random struct{ *rand.Rand }

func (r random) port() uint16 {
	return [...]uint16{0, 1, 22, 25, 80, 443, 444, 4095, 4096, 8000, 8999, 65534, 65535}[r.IntN(13)]
}

func (r random) addr() netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 10<<24|r.Uint32N(4)<<14)
	if r.IntN(2) == 0 {
		return netip.AddrFrom4(b)
	}
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 12: b[0], b[1], b[2], b[3]})
}

func (r random) command() string { return [...]string{"curl", "ssh", "rsync", "sh"}[r.IntN(4)] }

func (r random) rule(name string) config.Rule {
	x := config.Rule{Name: name, Set: intent.Set{}.With(intent.Options()[r.IntN(3)], int64(r.IntN(3)))}
	for range r.IntN(3) {
		a, b := r.port(), r.port()
		x.Ports = append(x.Ports, config.PortRange{Low: min(a, b), High: max(a, b)})
	}
	for range r.IntN(3) {
		a := r.addr()
		bits := a.BitLen() - []int{0, 14, 15, 16, a.BitLen()}[r.IntN(5)]
		x.Destinations = append(x.Destinations, netip.PrefixFrom(a, bits).Masked())
	}
	for range r.IntN(3) {
		x.Commands = append(x.Commands, r.command())
	}
	return x
}

// What the kernel finds by its lookups is what the rules say, as the proxy and "mammactl run"
// apply them one after the other.
func TestRulesInTheKernel(t *testing.T) {
	r := random{rand.New(rand.NewPCG(1, 2))} //nolint:gosec // the same in every run
	seen := map[hook.Variant]bool{}
	for range 300 {
		c := config.Scope{Name: "x", PortIntents: r.IntN(2) == 0}
		if r.IntN(2) == 0 {
			c.Intents = intent.Set{}.WithCategory(intent.CategoryStream)
		}
		for i := range r.IntN(6) {
			c.Rules = append(c.Rules, r.rule(fmt.Sprint("r", i)))
		}
		s, warnings := compile(&c, 1)
		if len(warnings) > 0 {
			t.Fatal(warnings)
		}
		for range 100 {
			to, command := netip.AddrPortFrom(r.addr(), r.port()), r.command()
			v := lookUpVariant(t, s.rules, to, command)
			seen[v] = true
			var want rules.Choice
			for _, x := range c.Rules {
				m := rules.Match{Ports: x.Ports}
				for _, d := range x.Destinations {
					m.Destinations = append(m.Destinations, rules.Destination{Network: d})
				}
				if len(x.Commands) == 0 || slices.Contains(x.Commands, command) {
					want.Apply([]rules.Intents{{Name: x.Name, Match: m, Set: x.Set}}, &rules.Subject{Addr: to})
				}
			}
			want.Set = want.Set.Merge(c.Intents)
			if c.PortIntents {
				want.Guess(nil, to.Port())
			}
			for _, port := range []uint16{0, to.Port()} { // as the usual answer knows it, and one of its own
				if set, from := s.intents(v, port, intent.Set{}); set != want.Set || port > 0 && from != want.From() {
					t.Fatalf("%+v: %s to %v has variant %d: %v from %q, want %v from %q", c, command, to, v, set, from, want.Set, want.From())
				}
			}
		}
	}
	if len(seen) < 8 {
		t.Errorf("only %d variants", len(seen))
	}
}

// A variant names all well-known ports that it is about, and no others.
func TestNamesOfVariants(t *testing.T) {
	background := intent.Set{}.WithTimeliness(intent.TimelinessBackgroundTraffic)
	for _, tt := range []struct {
		name  string
		scope config.Scope
		want  []string
	}{
		{"ports", config.Scope{PortIntents: true}, []string{
			"ports 143, 993, 5222, 5223, 5228", "ports 20, 873, 9418", "ports 22, 23, 3389, 5900", "ports 25, 465, 587", "ports 53, 123, 853, 3478", "ports 554, 1935",
		}},
		{"a rule about one of a group", config.Scope{PortIntents: true, Rules: []config.Rule{{Name: "x", Set: background, Ports: []config.PortRange{{Low: 100, High: 900}}}}}, []string{
			"port 1935", "port 25", "ports 20, 9418", "ports 22, 23, 3389, 5900", "ports 53, 3478", "ports 993, 5222, 5223, 5228",
			"rule x", "rule x, port 143", "rule x, port 554", "rule x, port 873", "rule x, ports 123, 853", "rule x, ports 465, 587",
		}},
		{"the category is stated", config.Scope{PortIntents: true, Intents: intent.Set{}.WithCategory(intent.CategoryQuery)}, nil},
	} {
		s, _ := compile(&tt.scope, 1)
		var got []string
		for i := range s.variants[1:] {
			got = append(got, s.variants[1+i].name())
		}
		slices.Sort(got)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Rules that overlap in too many ways are left out, from the end on, and somebody is told.
func TestTooManyVariants(t *testing.T) {
	c := config.Scope{Name: "x"}
	for i := range config.MaxRules {
		c.Rules = append(c.Rules, config.Rule{
			Name: fmt.Sprint("r", i), Set: intent.Set{}.With(intent.Options()[i%len(intent.Options())], 1),
			Ports: []config.PortRange{{Low: uint16(100 * i), High: 40000 + uint16(100*i)}}, Destinations: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("10.0.0.0"), 8+i)},
		})
	}
	s, warnings := compile(&c, 1)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "overlap in too many ways: intents \"r") || len(s.variants) > maxVariants || len(s.variants) < 10 {
		t.Errorf("%d variants, %q", len(s.variants), warnings)
	}
	if got := Doubts([]config.Scope{c}, func(_ config.Pos, w string) string { return w }); !slices.Equal(got, warnings) {
		t.Errorf("%q", got)
	}
	if total := len(s.rules.Variants); total > maxFits {
		t.Errorf("%d sets of rules", total)
	}
}

// A range of ports becomes the least number of blocks.
func TestPortBlocks(t *testing.T) {
	for _, tt := range []struct {
		low, high uint16
		want      string
	}{
		{22, 22, "22/16"}, {8000, 8999, "8000/10 8064/9 8192/7 8704/8 8960/11 8992/13"}, {65535, 65535, "65535/16"}, {1, 3, "1/16 2/15"},
	} {
		var got []string
		list := byPort([]rule{{Rule: &config.Rule{Ports: []config.PortRange{{Low: tt.low, High: tt.high}}}}})
		for _, p := range list[1:] {
			got = append(got, fmt.Sprintf("%d/%d", p.Port, p.Bits))
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%d-%d: %s, want %s", tt.low, tt.high, text, tt.want)
		}
		if list[0] != (hook.PortFits{}) {
			t.Errorf("other ports: %+v", list[0])
		}
		sum := 0
		for _, p := range list[1:] {
			sum += 1 << (16 - p.Bits)
		}
		if want := int(tt.high) - int(tt.low) + 1; sum != want {
			t.Errorf("%d ports, want %d", sum, want)
		}
	}
	all := byPort([]rule{{Rule: &config.Rule{Ports: []config.PortRange{{High: 65535}}}}})
	if len(all) != 1 || all[0] != (hook.PortFits{Fits: 1}) {
		t.Errorf("all ports: %+v", all)
	}
}
