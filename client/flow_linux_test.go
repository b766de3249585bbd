package client

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/testing/rawmanager"
	"github.com/socket-intents/mamma/internal/wire"
)

// The report holds the program's figures unchanged, with the network and both
// addresses. It goes only to a manager that takes such reports, and only if the figures
// make sense.
func TestReportFlow(t *testing.T) {
	const ms = time.Millisecond
	s := udpServer(t)
	there := addrPort(s.LocalAddr())
	flow := Flow{RTT: 12 * ms, MinRTT: 9 * ms, RTTVar: 700 * time.Microsecond, Sent: 240, Lost: 3}
	with := func(change func(*Flow)) Flow {
		f := flow
		change(&f)
		return f
	}
	for _, tt := range []struct {
		name     string
		address  string // of the dial
		original bool   // the manager has no extensions
		to       netip.AddrPort
		flow     Flow
		want     *wire.Flow // without addresses and index; nil: nothing is reported
		transfer *wire.Transfer
	}{
		{name: "now and then", address: there.String(), flow: flow, want: &wire.Flow{RTT: 12_000, MinRTT: 9_000, RTTVar: 700, Sent: 240, Lost: 3}},
		{name: "to anywhere", to: there, flow: flow, want: &wire.Flow{RTT: 12_000, MinRTT: 9_000, RTTVar: 700, Sent: 240, Lost: 3}},
		{
			name: "a mapped address", to: netip.AddrPortFrom(netip.AddrFrom16(there.Addr().As16()), there.Port()), flow: flow,
			want: &wire.Flow{RTT: 12_000, MinRTT: 9_000, RTTVar: 700, Sent: 240, Lost: 3},
		},
		{name: "nothing is known", address: there.String(), want: &wire.Flow{}},
		{name: "silence", address: there.String(), flow: Flow{Silent: true, Over: true}, want: &wire.Flow{Flags: wire.FlowSilent | wire.FlowOver}},
		{
			name: "the end", address: there.String(), flow: with(func(f *Flow) { f.Over, f.Received, f.Busy, f.Connect = true, 5_000_000_000, 40*time.Second, 30*ms }),
			want:     &wire.Flow{Flags: wire.FlowOver, RTT: 12_000, MinRTT: 9_000, RTTVar: 700, Sent: 240, Lost: 3},
			transfer: &wire.Transfer{Bytes: 5_000_000_000, Microseconds: 40_030_000, Connect: 30_000, RTT: 12_000, MinRTT: 9_000},
		},
		{
			name: "bytes before the end", address: there.String(), flow: with(func(f *Flow) { f.Received = 1000 }),
			want: &wire.Flow{RTT: 12_000, MinRTT: 9_000, RTTVar: 700, Sent: 240, Lost: 3},
		},
		{name: "an original manager", address: there.String(), original: true, flow: flow},
		{name: "to nobody", flow: flow},
		{name: "to another family", to: netip.MustParseAddrPort("[2001:db8::1]:443"), flow: flow},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := rawmanager.Start(t, "", tt.original, rawmanager.Suggest("127.0.0.7"))
			d := dialer(t, m.Path)
			c, err := d.ListenPacket(t.Context(), "udp4", tt.address)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			c.Report(tt.to, tt.flow)
			if err := d.Daemon.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			var got []wire.Message
			for _, m := range m.All() {
				if m.Action == wire.ActionReportRequest {
					got = append(got, m)
				}
			}
			if tt.want == nil {
				if len(got) > 0 {
					t.Errorf("reported %+v", got)
				}
				return
			}
			if len(got) != 1 || got[0].Flow == nil {
				t.Fatalf("reported %+v", got)
			}
			f := got[0].Flow
			if f.Index == 0 || f.Local.AddrPort != addrPort(c.LocalAddr()) || f.Remote.AddrPort != there || got[0].DecisionID != uuid.UUID(c.Info().ID) {
				t.Errorf("decision %v, %+v", got[0].DecisionID, f)
			}
			if diff := cmp.Diff(tt.want, f, cmpopts.IgnoreFields(wire.Flow{}, "Index", "Local", "Remote")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(tt.transfer, got[0].Transfer); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
