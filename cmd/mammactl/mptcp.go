package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/internal/operator/control"
)

func (a *app) mptcpCommand() *cobra.Command {
	return a.command("mptcp", "Show Multipath TCP connections and their subflows", `
Shows the connections of this host that use Multipath TCP, each with its
subflows: the network, how much it carried, and its round-trip time. Data that was
sent again over another subflow counts on both. Connections that became plain TCP
are marked. Below the connections are the endpoints of the kernel's path manager,
and how many connections have become plain TCP since the host was started.`,
		noArgs, func(ctx context.Context, c *control.Client, _ []string) error {
			var m control.Multipath
			raw, err := c.Get(ctx, "/v1/mptcp", &m)
			if err != nil {
				return err
			}
			return a.show(raw, func() error { return a.showMultipath(&m) })
		})
}

func (a *app) showMultipath(m *control.Multipath) error {
	t := a.table(
		table.Column{Head: "CONNECTION", Least: 12}, table.Column{Head: "INTERFACE", Least: 5}, table.Column{Head: "LOCAL", Rank: 5, Least: 12},
		table.Column{Head: "STATE", Rank: 1}, table.Column{Head: "RECEIVED", Right: true, Rank: 2}, table.Column{Head: "SENT", Right: true, Rank: 4},
		table.Column{Head: "RTT ms", Right: true, Rank: 3},
	)
	for i := range m.Connections {
		c := &m.Connections[i]
		name := c.Remote
		if c.Host != nil {
			name = *c.Host + " (" + c.Remote + ")"
		}
		state := fmt.Sprintf("%d subflows", len(c.Subflows))
		switch {
		case c.Fallback:
			state = "plain TCP"
		case len(c.Subflows) == 1:
			state = "1 subflow"
		}
		if c.Server {
			state += ", from peer"
		}
		t.Add(table.Plain(clean(name), "", "", state, byteSize(c.Received), byteSize(c.Sent), "")...)
		for j := range c.Subflows {
			f := &c.Subflows[j]
			t.Add(table.Plain("", orUnknown(f.Interface), clean(f.Local), subflowState(c, f), byteSize(f.Received), byteSize(f.Sent), msec(f.RTTMS))...)
		}
	}
	if len(m.Connections) == 0 {
		if err := a.say("No connection uses Multipath TCP.\n"); err != nil {
			return err
		}
	} else if err := t.Write(a.out); err != nil {
		return err
	}
	var b strings.Builder
	if m.Omitted > 0 {
		fmt.Fprintf(&b, "%d more connections are not shown.\n", m.Omitted)
	}
	if !m.Complete {
		b.WriteString("Only your own connections are shown.\n")
	}
	who := "not managed by mamma"
	switch {
	case m.Managed && m.PerConnection:
		who = "managed by mamma, which asks the policy about each connection"
	case m.Managed:
		who = "set up by mamma for all connections alike: the policy cannot veto subflows of a single one"
	}
	fmt.Fprintf(&b, "Path manager: %s, %s\n", orUnknown(m.PathManager), who)
	for _, e := range m.Endpoints {
		fmt.Fprintf(&b, "Endpoint %d: %s %s\n", e.ID, clean(e.Addr), clean(strings.Join(e.Flags, " ")))
	}
	if len(m.Without) > 0 {
		var names []string
		for _, p := range m.Without {
			names = append(names, clean(p.Prefix+" on "+p.Interface))
		}
		fmt.Fprintf(&b, "Without an endpoint, as the kernel has room for no more: %s\n", strings.Join(names, ", "))
	}
	n := &m.Counters
	fmt.Fprintf(&b, "Since the host began: %d connections opened, %d accepted; %d subflows asked for, %d by peers; %d connections had a peer without MPTCP.\n",
		n.Opened, n.Accepted, n.JoinsSent, n.JoinsReceived, n.NoPeer)
	for _, name := range slices.Sorted(maps.Keys(n.Fallbacks)) {
		fmt.Fprintf(&b, "Became plain TCP, %s: %d\n", clean(name), n.Fallbacks[name])
	}
	return a.say("%s", b.String())
}

func subflowState(c *control.MultipathConn, f *control.MultipathSubflow) string {
	var parts []string
	if f.First {
		parts = append(parts, "first")
	}
	if f.Backup {
		parts = append(parts, "backup")
	}
	if !f.Established && !c.Fallback {
		parts = append(parts, "opening")
	}
	if len(parts) == 0 {
		return "up"
	}
	return strings.Join(parts, ", ")
}
