package doctor

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	mdnetlink "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// filterMessage makes a message of nf_tables, with the attributes that fill adds.
func filterMessage(t testing.TB, family uint8, fill func(*mdnetlink.AttributeEncoder)) mdnetlink.Message {
	t.Helper()
	a := mdnetlink.NewAttributeEncoder()
	a.ByteOrder = binary.BigEndian
	fill(a)
	b, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return mdnetlink.Message{Data: append([]byte{family, unix.NFNETLINK_V0, 0, 0}, b...)}
}

type encoder = mdnetlink.AttributeEncoder

func nest(a *encoder, kind uint16, fill func(*encoder)) {
	a.Nested(kind, func(n *encoder) error {
		n.ByteOrder = binary.BigEndian
		fill(n)
		return nil
	})
}

// filterRule makes a rule of table t with one expression.
func filterRule(t testing.TB, chain, name string, data func(*encoder)) mdnetlink.Message {
	return filterMessage(t, unix.NFPROTO_INET, func(a *encoder) {
		a.String(unix.NFTA_RULE_TABLE, "t")
		a.String(unix.NFTA_RULE_CHAIN, chain)
		nest(a, unix.NFTA_RULE_EXPRESSIONS, func(a *encoder) {
			nest(a, unix.NFTA_LIST_ELEM, func(a *encoder) {
				a.String(unix.NFTA_EXPR_NAME, name)
				nest(a, unix.NFTA_EXPR_DATA, data)
			})
		})
	})
}

func filterChain(t testing.TB, name, kind string) mdnetlink.Message {
	return filterMessage(t, unix.NFPROTO_INET, func(a *encoder) {
		a.String(unix.NFTA_CHAIN_TABLE, "t")
		a.String(unix.NFTA_CHAIN_NAME, name)
		a.String(unix.NFTA_CHAIN_TYPE, kind)
	})
}

func jumpTo(chain string) func(*encoder) {
	return func(a *encoder) {
		nest(a, unix.NFTA_IMMEDIATE_DATA, func(a *encoder) {
			nest(a, unix.NFTA_DATA_VERDICT, func(a *encoder) { a.String(unix.NFTA_VERDICT_CHAIN, chain) })
		})
	}
}

func metaMark(set bool) func(*encoder) {
	return func(a *encoder) {
		a.Uint32(unix.NFTA_META_KEY, unix.NFT_META_MARK)
		if set {
			a.Uint32(unix.NFTA_META_SREG, unix.NFT_REG_1)
		} else {
			a.Uint32(unix.NFTA_META_DREG, unix.NFT_REG_1)
		}
	}
}

func target(name string) func(*encoder) {
	return func(a *encoder) { a.String(unix.NFTA_TARGET_NAME, name) }
}

// A chain counts if it sets a mark and can be reached from the hook at which a mark changes
// the route.
func TestMarkers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rules []mdnetlink.Message
		want  []string
	}{
		{"none", nil, nil},
		{"a mark is set", []mdnetlink.Message{filterRule(t, "out", "meta", metaMark(true))}, []string{"inet t out"}},
		{"a mark is looked at", []mdnetlink.Message{filterRule(t, "out", "meta", metaMark(false))}, nil},
		{"another hook", []mdnetlink.Message{filterRule(t, "in", "meta", metaMark(true))}, nil},
		{"in a chain that is jumped to", []mdnetlink.Message{filterRule(t, "out", "immediate", jumpTo("sub")), filterRule(t, "sub", "meta", metaMark(true))}, []string{"inet t sub"}},
		{"chains that jump to each other", []mdnetlink.Message{
			filterRule(t, "out", "immediate", jumpTo("a")), filterRule(t, "a", "immediate", jumpTo("out")), filterRule(t, "a", "target", target("MARK")),
		}, []string{"inet t a"}},
		{"a jump to nothing", []mdnetlink.Message{filterRule(t, "out", "immediate", jumpTo("gone"))}, nil},
		{"targets of iptables", []mdnetlink.Message{filterRule(t, "out", "target", target("CONNMARK"))}, []string{"inet t out"}},
		{"another target", []mdnetlink.Message{filterRule(t, "out", "target", target("TCPMSS"))}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			starts, err := outputChains([]mdnetlink.Message{filterChain(t, "in", "filter"), filterChain(t, "out", "route")})
			if err != nil {
				t.Fatal(err)
			}
			all, err := chainContents(tt.rules)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, reached(all, starts)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Somebody else may have put anything into the packet filter that the kernel accepts, and a
// later kernel may send anything.
func FuzzMarkers(f *testing.F) {
	f.Fuzz(func(t *testing.T, chains, rules []byte) {
		starts, err := outputChains([]mdnetlink.Message{{Data: chains}})
		if len(starts) > 1 {
			t.Errorf("%d chains of one message", len(starts))
		}
		if err != nil {
			return
		}
		all, err := chainContents([]mdnetlink.Message{{Data: rules}, filterRule(t, "out", "meta", metaMark(true))})
		if err != nil {
			return
		}
		for _, c := range append(starts, chain{unix.NFPROTO_INET, "t", "out"}) {
			if list := reached(all, []chain{c}); len(list) > len(all) {
				t.Errorf("%d chains of %d", len(list), len(all))
			}
		}
		if list := reached(all, []chain{{unix.NFPROTO_INET, "t", "out"}}); len(list) == 0 {
			t.Error("a chain that sets marks is lost")
		}
	})
}
