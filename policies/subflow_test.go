package policies_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies"
	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

// TestSubflows asks the MPTCP policies which subflows they want.
func TestSubflows(t *testing.T) {
	const wifi, lte, wired = "10.0.1.2/24", "10.0.2.2/24", "10.0.3.2/24"
	a := Prefix("a", wifi, Default, RTT(20, 20, 1))
	b := Prefix("b", lte, RTT(50, 50, 1), func(p *policy.Prefix) { p.Cost = policy.Metered })
	c := Prefix("c", wired, RTT(10, 10, 1))
	request := func(pairs ...int64) *policy.Request { return With(Request(policy.SocketConnect), pairs...) }
	category := func(c intent.Category) *policy.Request { return request(int64(intent.OptCategory), int64(c)) }
	for _, tt := range []struct {
		policy      string
		reconfigure string
		request     *policy.Request
		all         bool
		want        string
	}{
		{policy: "mptcp_simple", want: "c b-backup"},
		{policy: "mptcp_simple", all: true, want: "c a b-backup"},
		{policy: "mptcp_filesize", want: "b-backup c"},
		{policy: "mptcp_filesize", all: true, want: "a b-backup c"},
		{policy: "mptcp_default_flow", want: ""},
		{policy: "mptcp_default_flow", all: true, want: "a"},
		{policy: "mptcp_default_flow", reconfigure: "10.0.2.2", want: "b"},
		{policy: "mptcp_default_flow", reconfigure: "10.0.2.2", all: true, want: "b"},
		{policy: "mptcp_default_flow", reconfigure: "10.0.9.9", want: ""},
		{policy: "mptcp_selective", want: "b-backup c"},
		{policy: "mptcp_selective", all: true, want: "a b-backup c"},
		{policy: "mptcp_selective", request: category(intent.CategoryBulkTransfer), want: "b-backup c"},
		{policy: "mptcp_selective", request: category(intent.CategoryQuery), want: ""},
		{policy: "mptcp_selective", request: request(), want: ""},
	} {
		p, err := policies.All().New(tt.policy, policy.Config{Prefixes: []*policy.Prefix{a, b, c}})
		if err != nil {
			t.Fatal(err)
		}
		if tt.reconfigure != "" {
			if err := p.(policy.Reconfigurer).Reconfigure(tt.reconfigure, nil); err != nil {
				t.Fatal(err)
			}
		}
		r := &policy.SubflowRequest{Prefixes: []*policy.Prefix{a, b, c}}
		if !tt.all {
			r.Request, r.First, r.Remote = tt.request, a, netip.MustParseAddrPort("192.0.2.1:80")
			r.Local, r.Remotes = netip.AddrPortFrom(a.Addr(), 4711), []netip.AddrPort{r.Remote}
		}
		var got []string
		for _, s := range p.(policy.SubflowChooser).ChooseSubflows(r) {
			name := s.Prefix.Interface
			if s.Backup {
				name += "-backup"
			}
			got = append(got, name)
		}
		if g := strings.Join(got, " "); g != tt.want {
			t.Errorf("%s, reconfigured %q, all %v, request %v: %q, want %q", tt.policy, tt.reconfigure, tt.all, tt.request != nil, g, tt.want)
		}
	}
}
