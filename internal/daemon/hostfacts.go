package daemon

import (
	"cmp"
	"context"
	"log/slog"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/hostfacts"
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

func (f hostFacts) run(ctx context.Context) error {
	if f.watcher == nil {
		return nil
	}
	return f.watcher.Run(ctx)
}

// configured is the name of the source if the configuration says something.
const configured = "configuration"

// hear takes over the facts about a managed prefix: its cost, unless the configuration
// states one, and why it may not get far.
func (m *managed) hear(facts *hostfacts.Facts) {
	l := facts.Link(m.prefix.Interface)
	m.doubt = l.Doubt(m.prefix.Family())
	if m.settings.CostGiven {
		m.costSource = configured
		return
	}
	m.prefix.Cost, m.costSource = l.Cost()
}

// told returns what services say about the managed prefixes, and the source of what is
// used.
func told(list []managed, facts *hostfacts.Facts) map[policy.PrefixID]mam.Told {
	out := make(map[policy.PrefixID]mam.Told, len(list))
	for i := range list {
		m := &list[i]
		t := mam.Told{Cost: m.costSource, Resolvers: m.dnsSource()}
		l := facts.Link(m.prefix.Interface)
		for _, f := range l.Facts(m.prefix.Family()) {
			t.Facts = append(t.Facts, mam.Fact{Name: f.Name, Value: f.Value, Source: f.Source, Measured: f.Measured, Overruled: f.Name == "metered" && m.settings.CostGiven})
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
