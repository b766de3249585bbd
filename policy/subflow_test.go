package policy

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDefaultSubflows(t *testing.T) {
	prefix := func(name string, cost Cost, state HealthState) *Prefix {
		return &Prefix{ID: PrefixID{Interface: name}, Interface: name, Cost: cost, Health: Health{State: state}}
	}
	wifi, lte, doubtful := prefix("wifi", Free, Up), prefix("lte", Metered, Up), prefix("doubtful", Free, Suspect)
	all := []*Prefix{wifi, lte, doubtful}
	backup := []Subflow{{Prefix: lte, Backup: true}, {Prefix: doubtful, Backup: true}}
	for _, tt := range []struct {
		name string
		r    SubflowRequest
		want []Subflow
	}{
		{"nothing there", SubflowRequest{}, nil},
		{"all connections", SubflowRequest{Prefixes: all}, append([]Subflow{{Prefix: wifi}}, backup...)},
		{"one connection", SubflowRequest{Remote: netip.MustParseAddrPort("192.0.2.1:80"), First: prefix("wifi", Free, Up), Prefixes: all}, backup},
		{"first prefix alone", SubflowRequest{First: wifi, Prefixes: all[:1]}, nil},
	} {
		got := DefaultSubflows(&tt.r)
		if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.AddrPort{}, PrefixID{}, netip.Prefix{})); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, diff)
		}
		if all := tt.r.All(); all == tt.r.Remote.IsValid() {
			t.Errorf("%s: All is %v", tt.name, all)
		}
	}
}
