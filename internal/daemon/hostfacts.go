package daemon

import (
	"cmp"
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/hostfacts"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/process/systembus"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// hostFacts gives access to what other services of the host say about its networks. Its
// watcher may be nil. It is safe for concurrent use.
type hostFacts struct {
	watcher *hostfacts.Watcher // nil: no service is asked
}

func newHostFacts(cfg *config.Config, log *slog.Logger) hostFacts {
	bus := systemBus(cfg)
	if bus == "" {
		return hostFacts{}
	}
	return hostFacts{hostfacts.New(bus, log)}
}

// systemBus is the socket of the system bus; "" if the configuration wants none.
func systemBus(cfg *config.Config) string {
	if cfg.SystemBus == config.Off {
		return ""
	}
	return cmp.Or(cfg.SystemBus, systembus.Path())
}

// now returns the present facts, which may be nil.
func (f hostFacts) now() *hostfacts.Facts {
	if f.watcher == nil {
		return nil
	}
	return f.watcher.Facts()
}

// changed returns a channel that has a value when the facts have changed. If it is nil,
// they never change.
func (f hostFacts) changed() <-chan struct{} {
	if f.watcher == nil {
		return nil
	}
	return f.watcher.Changed()
}

func (f hostFacts) linksChanged() {
	if f.watcher != nil {
		f.watcher.LinksChanged()
	}
}

// askAgain has each service asked again.
func (f hostFacts) askAgain() {
	if f.watcher != nil {
		f.watcher.AskAgain()
	}
}

// wakeGap is the least time between two calls that a service causes by saying that the host
// wakes, however often it says so.
const wakeGap = time.Second

// resumed calls do whenever a service says that the host wakes, until ctx ends.
func (f hostFacts) resumed(ctx context.Context, do func()) error {
	if f.watcher == nil {
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.watcher.Resumed():
			do()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wakeGap):
		}
	}
}

func (f hostFacts) run(ctx context.Context) error {
	if f.watcher == nil {
		return nil
	}
	return f.watcher.Run(ctx)
}

// configured is the name of the source if the configuration says something.
const configured = "configuration"

// hear takes over the facts about a managed prefix: its cost, unless the configuration
// states one, why it may not get far, and its portal.
func (m *managed) hear(facts *hostfacts.Facts) {
	l := facts.Link(m.prefix.Interface)
	m.doubt, m.portal = l.Doubt(m.prefix.Family()), l.Announced(m.prefix.Family())
	if m.settings.CostGiven {
		m.costSource = configured
		return
	}
	m.prefix.Cost, m.costSource = l.Cost()
}

// inherit makes VPNs cost what the network below them costs: their packets travel
// there, and services say about tunnels mostly nothing. A statement of the
// configuration or of a service about the VPN itself has precedence.
func inherit(list []managed, nets *netmon.Snapshot, facts *hostfacts.Facts) {
	below := carrier(nets, facts)
	if below == nil {
		return
	}
	l := facts.Link(below.Interface)
	cost, source := l.Cost()
	for i := range list {
		if m := &list[i]; m.prefix.Index == below.Index && (m.prefix.Cost > policy.Free || m.settings.CostGiven) {
			cost, source = m.prefix.Cost, m.costSource
		}
	}
	if cost == policy.Free {
		return
	}
	for i := range list {
		m := &list[i]
		own := facts.Link(m.prefix.Interface)
		if said := own.Metered == hostfacts.MeteredNo || own.Metered == hostfacts.MeteredYes; !m.settings.CostGiven && !said && m.prefix.Cost < cost && isVPN(m.prefix.Index, nets, facts) {
			m.prefix.Cost, m.costSource = cost, source+" of "+below.Interface
		}
	}
}

// isVPN tells whether the packets of an interface travel in others of this host.
func isVPN(index int, nets *netmon.Snapshot, facts *hostfacts.Facts) bool {
	l, ok := nets.Link(index)
	return ok && (l.Tunnel() || facts.Link(l.Name).VPN)
}

// carrier is the network that the packets of VPNs travel over: of those that are none the one
// whose route to everywhere is preferred. nil if there is none.
func carrier(nets *netmon.Snapshot, facts *hostfacts.Facts) (best *netmon.Prefix) {
	all := nets.Prefixes()
	for i := range all {
		p := &all[i]
		if p.HasDefault && p.Running && !p.Loopback && !isVPN(p.Index, nets, facts) && (best == nil || p.Metric < best.Metric) {
			best = p
		}
	}
	return best
}

// told returns what services say about the managed prefixes, and the source of what is
// used. The gateway is among it if what is measured belongs to the gateway.
func told(list []managed, facts *hostfacts.Facts) map[policy.PrefixID]mam.Told {
	out := make(map[policy.PrefixID]mam.Told, len(list))
	for i := range list {
		m := &list[i]
		t := mam.Told{Cost: m.costSource, Resolvers: m.dnsSource()}
		l := facts.Link(m.prefix.Interface)
		for _, f := range l.Facts(m.prefix.Family()) {
			t.Facts = append(t.Facts, mam.Fact{Name: f.Name, Value: f.Value, Source: f.Source, Measured: f.Measured, Overruled: f.Name == "metered" && m.settings.CostGiven})
		}
		if gateway, ok := strings.CutPrefix(m.attachment, gatewayPrefix); ok {
			t.Facts = append(t.Facts, mam.Fact{Name: "gateway", Value: gateway, Source: "kernel"})
		}
		if len(t.Facts) > 0 || t.Cost != "" || t.Resolvers != "" {
			out[m.prefix.ID] = t
		}
	}
	return out
}

// dnsSource returns the source of the prefix's name servers; "" if it has none of its
// own.
func (m *managed) dnsSource() string {
	switch {
	case len(m.settings.Nameservers) == 0 && m.settings.ResolvConf == "":
		return ""
	case m.fromLink:
		return m.linkSource
	}
	return configured
}
