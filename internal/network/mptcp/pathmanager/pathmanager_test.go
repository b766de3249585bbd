package pathmanager

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

var (
	comparer = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})
	quiet    = slog.New(slog.DiscardHandler)
	start    = time.Unix(1000, 0)
)

func prefix(iface string, index int, addr string, edits ...func(*policy.Prefix)) *policy.Prefix {
	a := netip.MustParsePrefix(addr)
	p := &policy.Prefix{
		ID:        policy.PrefixID{Interface: iface, Prefix: a.Masked()},
		Interface: iface, Index: index, CIDR: a.Masked(), Addrs: []netip.Addr{a.Addr()},
	}
	for _, edit := range edits {
		edit(p)
	}
	return p
}

func metered(p *policy.Prefix) { p.Cost = policy.Metered }
func down(p *policy.Prefix)    { p.Health.State = policy.Down }

// chooser is a policy. A nil function means the default rule.
type chooser struct {
	choose func(*policy.SubflowRequest) []policy.Subflow
}

func (chooser) Choose(*policy.Request) policy.Decision { return policy.Decision{} }

func (c *chooser) ChooseSubflows(r *policy.SubflowRequest) []policy.Subflow {
	if c.choose == nil {
		return policy.DefaultSubflows(r)
	}
	return c.choose(r)
}

// host is a manager with a policy and networks that tests change.
type host struct {
	*mam.Manager
	chooser chooser
	runner  *mam.Runner
	changed func() // told of new networks, if set
}

func newHost(prefixes ...*policy.Prefix) *host {
	h := &host{Manager: mam.New(mam.Options{})}
	h.runner = mam.NewRunner("test", &h.chooser, quiet)
	h.set(prefixes...)
	return h
}

// set changes the networks; wwan0 needs its device.
func (h *host) set(prefixes ...*policy.Prefix) {
	v := &mam.View{Prefixes: prefixes, Runner: h.runner, Devices: map[policy.PrefixID]string{}}
	for _, p := range prefixes {
		if p.Interface == "wwan0" {
			v.Devices[p.ID] = p.Interface
		}
	}
	h.Publish(v)
	if h.changed != nil {
		h.changed()
	}
}

// kernel is a fake kernel. It has endpoints, limits, and a list of the requests about
// single connections.
type kernel struct {
	room      int // for endpoints; 0: any number
	endpoints []mptcp.Endpoint
	limits    mptcp.Limits
	refuse    error
	calls     []string
}

func (k *kernel) Endpoints() ([]mptcp.Endpoint, error) { return slices.Clone(k.endpoints), nil }

func (k *kernel) AddEndpoint(e mptcp.Endpoint) error {
	if k.refuse != nil {
		return k.refuse
	}
	if k.room > 0 && len(k.endpoints) == k.room {
		return mptcp.ErrFull
	}
	for i, o := range k.endpoints {
		if o.Addr == e.Addr && o.Flags&mptcp.FlagImplicit != 0 {
			e.ID = o.ID
			k.endpoints[i] = e
			return nil
		}
		e.ID = max(e.ID, o.ID)
	}
	e.ID++
	k.endpoints = append(k.endpoints, e)
	return nil
}

func (k *kernel) find(id uint8) (int, error) {
	if i := slices.IndexFunc(k.endpoints, func(e mptcp.Endpoint) bool { return e.ID == id }); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("no endpoint %d", id)
}

func (k *kernel) DeleteEndpoint(id uint8) error {
	i, err := k.find(id)
	if err == nil {
		k.endpoints = slices.Delete(k.endpoints, i, i+1)
	}
	return err
}

func (k *kernel) SetFlags(e mptcp.Endpoint) error {
	i, err := k.find(e.ID)
	if err == nil {
		k.endpoints[i].Flags = e.Flags
	}
	return err
}

func (k *kernel) Limits() (mptcp.Limits, error) { return k.limits, nil }

func (k *kernel) SetLimits(l mptcp.Limits) error { k.limits = l; return nil }

func (k *kernel) note(format string, args ...any) error {
	k.calls = append(k.calls, fmt.Sprintf(format, args...))
	return k.refuse
}

func (k *kernel) CreateSubflow(t mptcp.Token, local mptcp.Endpoint, remote netip.AddrPort) error {
	text := ""
	if local.Index != 0 {
		text = fmt.Sprintf(" dev %d", local.Index)
	}
	if local.Flags != 0 {
		text += " " + local.Flags.String()
	}
	return k.note("create %d: %d %v -> %v%s", uint32(t), local.ID, local.Addr, remote, text)
}

func (k *kernel) DestroySubflow(t mptcp.Token, local, remote netip.AddrPort) error {
	return k.note("destroy %d: %v -> %v", uint32(t), local, remote)
}

func (k *kernel) SetSubflowFlags(t mptcp.Token, local, remote netip.AddrPort, flags mptcp.Flags) error {
	return k.note("flags %d: %v -> %v %v", uint32(t), local, remote, flags)
}

func (k *kernel) Remove(t mptcp.Token, id uint8) error { return k.note("remove %d: %d", uint32(t), id) }

// asked returns the requests since the last call.
func (k *kernel) asked() []string {
	calls := k.calls
	k.calls = nil
	return calls
}

func (k *kernel) check(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, k.asked(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("asked of the kernel (-want +got)\n%s", diff)
	}
}

var errRefused = errors.New("refused")
