// Package selection finds out which of the host's prefixes a configuration means.
package selection

import (
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/netmon"
)

// Network is a prefix to manage, with its settings.
type Network struct {
	netmon.Prefix
	Settings config.PrefixSettings
}

// Select returns the prefixes that cfg selects for management, in prefix-list order.
//
// An interface block selects prefixes with global addresses. Link-local ones are left
// out: they reach nothing beyond the link, and there the address itself gives the
// interface. A prefix block selects the prefix that it names. One that is much wider
// than a loopback or link-local prefix, such as 0.0.0.0/0, does not name it. Auto
// selects the prefixes that lead to everywhere, or will when their routes are managed.
// If a VPN takes all traffic, Auto selects only the VPN: going around it must be
// configured.
func Select(cfg *config.Config, nets *netmon.Snapshot) []Network {
	var list []Network
	for _, p := range nets.Prefixes() {
		s := settings(cfg, nets, &p)
		leads := p.HasDefault || p.Hidden && cfg.Routing == config.RoutingManage
		auto := cfg.Auto && !s.Named && leads && !nets.Beside(&p)
		if !s.Enabled && !auto {
			continue
		}
		if (p.Scope != netmon.ScopeGlobal || p.Loopback) && !namedByPrefix(cfg, &p) {
			continue
		}
		list = append(list, Network{p, s})
	}
	return list
}

// settings returns the settings in cfg for a prefix, under any name of its interface.
func settings(cfg *config.Config, nets *netmon.Snapshot, p *netmon.Prefix) config.PrefixSettings {
	l, _ := nets.Link(p.Index)
	return cfg.Settings(p.Interface, p.Prefix, l.AltNames...)
}

func namedByPrefix(cfg *config.Config, p *netmon.Prefix) bool {
	return slices.ContainsFunc(cfg.Blocks, func(b config.Block) bool { return names(&b, p) })
}

// names tells whether a block is a prefix block that names p.
func names(b *config.Block, p *netmon.Prefix) bool {
	switch {
	case !b.Prefix.IsValid():
		return false
	case p.Prefix.Contains(b.Prefix.Addr()):
		return true
	}
	return b.Prefix.Bits() <= p.Prefix.Bits() && b.Prefix.Contains(p.Prefix.Addr()) && (!local(p.Prefix.Addr()) && !p.Loopback || local(b.Prefix.Addr()))
}

// local tells whether an address reaches nothing beyond this host and its links.
func local(a netip.Addr) bool { return a.IsLoopback() || a.IsLinkLocalUnicast() }

// Barren returns the blocks that match prefixes of the host but make none of them
// managed, because all are link-local or on the loopback interface. links has the
// interfaces of these prefixes for each block.
func Barren(cfg *config.Config, nets *netmon.Snapshot) (list []config.Block, links [][]netmon.Link) {
	for _, b := range cfg.Blocks {
		if b.Enabled != nil && !*b.Enabled || cfg.Original && b.Enabled == nil {
			continue
		}
		alone := *cfg
		alone.Blocks = []config.Block{b}
		var on []netmon.Link
		useful := false
		for _, p := range nets.Prefixes() {
			if !settings(&alone, nets, &p).Named {
				continue
			}
			useful = useful || p.Scope == netmon.ScopeGlobal && !p.Loopback || names(&b, &p)
			l, _ := nets.Link(p.Index)
			on = append(on, l)
		}
		if !useful && len(on) > 0 {
			list, links = append(list, b), append(links, on)
		}
	}
	return list, links
}

// Unmatched returns the blocks that match none of the host's prefixes.
func Unmatched(cfg *config.Config, nets *netmon.Snapshot) []config.Block {
	var list []config.Block
	for _, b := range cfg.Blocks {
		alone := *cfg
		alone.Blocks = []config.Block{b}
		if !slices.ContainsFunc(nets.Prefixes(), func(p netmon.Prefix) bool { return settings(&alone, nets, &p).Named }) {
			list = append(list, b)
		}
	}
	return list
}
