package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/internal/selection"
	"github.com/socket-intents/mamma/policy"
)

// Check reads a configuration and makes its policy, but runs nothing. It returns the
// warnings of a start with this configuration, and the error with which it would fail.
// known are the compiled-in policies.
func Check(ctx context.Context, path string, known policy.Catalogue) (warnings []string, err error) {
	l := &loader{known: known}
	cfg, err := l.readConfig(ctx, path)
	if err != nil {
		return nil, err
	}
	_, groupErr := controlGroup(cfg)
	nets, err := netmon.New(netmon.Options{Everywhere: oracle.EverywhereOf(cfg.FarAway)}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("read the host's networks: %w", err)
	}
	defer nets.Close()
	list := manage(cfg, nets.Snapshot(), nil)
	warnings = append(unintended(cfg, nets.Snapshot(), list), originalsServed(cfg)...)
	warnings = append(warnings, multipathDoubts(cfg)...) // the start finds out by itself
	unheeded, err := l.checkPolicy(cfg, list)
	return append(warnings, unheeded...), (*config.Error)(nil).Join(groupErr, err)
}

func blockName(b *config.Block) string {
	kind := "prefix"
	if !b.Prefix.IsValid() {
		kind = "interface"
	}
	return fmt.Sprintf("%s %q", kind, b.Written)
}

// unintended warns about settings that were probably not meant that way on this host.
// list has the prefixes that the configuration selects.
func unintended(cfg *config.Config, nets *netmon.Snapshot, list []managed) (warnings []string) {
	for _, w := range cfg.Warnings {
		warnings = append(warnings, w.String())
	}
	for _, b := range selection.Unmatched(cfg, nets) {
		warnings = append(warnings, cfg.ErrorAt(b.Pos, "%s matches no network of this host at the moment%s", blockName(&b), meantBy(&b, nets)).Error())
	}
	warnings = append(warnings, barren(cfg, nets)...)
	warnings = append(warnings, doubts(cfg)...)
	warnings = append(warnings, absentDefaults(cfg, selection.Unmatched(cfg, nets))...)
	warnings = append(warnings, scopeDoubts(cfg)...)
	return append(warnings, twoDefaults(list)...)
}

// absentDefaults is twoDefaults for networks that are not there, of which nobody else would
// tell before they come.
func absentDefaults(cfg *config.Config, absent []config.Block) (warnings []string) {
	var first []*config.Block
	for i := range absent {
		b := &absent[i]
		if b.Default == nil || !*b.Default || b.Enabled != nil && !*b.Enabled || cfg.Original && b.Enabled == nil {
			continue
		}
		other := slices.IndexFunc(first, func(o *config.Block) bool { return apart(o, b) })
		if other >= 0 {
			warnings = append(warnings, cfg.ErrorAt(b.Pos, "%s is a second default, beside %s: where both are there, the first of them is used", blockName(b), blockName(first[other])).Error())
		}
		first = append(first, b)
	}
	return warnings
}

// apart tells whether two blocks are of one kind and about different networks. A prefix of
// IPv4 and one of IPv6 are mostly one network's.
func apart(a, b *config.Block) bool {
	if a.Prefix.IsValid() || b.Prefix.IsValid() {
		return a.Prefix.IsValid() && b.Prefix.IsValid() && a.Prefix.Addr().Is4() == b.Prefix.Addr().Is4() && !a.Prefix.Overlaps(b.Prefix)
	}
	covers := func(pattern, name string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	}
	return !covers(a.Interface, b.Interface) && !covers(b.Interface, a.Interface)
}

// meantBy guesses what a block that matches nothing was meant to be.
func meantBy(b *config.Block, nets *netmon.Snapshot) string {
	if b.Prefix.IsValid() {
		return ""
	}
	if a, err := netip.ParseAddr(b.Interface); err == nil {
		return fmt.Sprintf("; if an address is meant: prefix %q { ... }", a)
	}
	var names []string
	for _, l := range nets.Links() {
		names = append(append(names, l.Name), l.AltNames...)
	}
	// ip(8) shows a VLAN as eth0.100@eth0, and ifconfig(8) shows an address with a
	// label as eth0:1. Neither is the name of the interface.
	if i := strings.IndexAny(b.Interface, "@:"); i > 0 {
		if name := b.Interface[:i]; slices.Contains(names, name) {
			return fmt.Sprintf("; the name of the interface is %q", name)
		}
	}
	if near := config.Suggest(b.Interface, names); strings.HasSuffix(near, "?") {
		return near
	}
	return ""
}

// barren warns about blocks for networks that can never be managed.
func barren(cfg *config.Config, nets *netmon.Snapshot) (warnings []string) {
	list, links := selection.Barren(cfg, nets)
	for i, b := range list {
		if slices.ContainsFunc(links[i], func(l netmon.Link) bool { return !l.Loopback }) {
			warnings = append(warnings, cfg.ErrorAt(b.Pos, "%s has link-local addresses only, which reach nothing beyond the link: nothing of it is managed", blockName(&b)).Error())
			continue
		}
		if b.Prefix.IsValid() && !withinLoopback(b.Prefix) {
			warnings = append(warnings, cfg.ErrorAt(b.Pos, "%s matches no network of this host at the moment but its loopback, of which nothing is managed", blockName(&b)).Error())
			continue
		}
		warnings = append(warnings, cfg.ErrorAt(b.Pos, "%s is this host's loopback, of which nothing is managed", blockName(&b)).Error())
	}
	return warnings
}

// withinLoopback tells whether all addresses of a network are this host's loopback (RFC 1122
// section 3.2.1.3, RFC 4291 section 2.5.3).
func withinLoopback(p netip.Prefix) bool {
	return p.Addr().IsLoopback() && (p.Addr().Is6() && p.Bits() == 128 || p.Addr().Is4() && p.Bits() >= 8)
}

// doubts warns about settings that hardly anybody means.
func doubts(cfg *config.Config) (warnings []string) {
	hasDefault := false
	for i := range cfg.Blocks {
		b := &cfg.Blocks[i]
		isDefault, disabled := b.Default != nil && *b.Default, b.Enabled != nil && !*b.Enabled
		hasDefault = hasDefault || isDefault && !disabled
		ip := b.Prefix.Addr()
		switch {
		case isDefault && disabled:
			warnings = append(warnings, cfg.ErrorAt(b.Pos, "%s is the default and disabled: it is not used", blockName(b)).Error())
		case disabled || cfg.Original && b.Enabled == nil: // the block selects nothing to manage
		case b.Prefix.IsValid() && b.Prefix.Bits() == 0:
			warnings = append(warnings, cfg.ErrorAt(b.Pos, "%s is every %v network of this host, also tunnels and the bridges of containers; what leads to the Internet is managed by auto = true, and one interface by interface \"NAME\" { ... }", blockName(b), policy.FamilyOf(ip)).Error())
		case withinLoopback(b.Prefix):
			warnings = append(warnings, cfg.ErrorAt(b.Pos, "%s is this host's loopback: connections to anywhere else that are sent by it fail", blockName(b)).Error())
		case ip.IsLinkLocalUnicast():
			warnings = append(warnings, cfg.ErrorAt(b.Pos, "%s is link-local: connections to anywhere beyond the link that are sent by it fail", blockName(b)).Error())
		}
	}
	if !hasDefault && !cfg.Auto && cfg.Policy.Name != "" && len(cfg.Blocks) > 0 { // without blocks, reading the configuration has warned already
		warnings = append(warnings, cfg.File+": no network is the default (default = true); the host's routes choose where nothing speaks for a network")
	}
	return warnings
}

// checkPolicy makes the policy and closes it. It returns warnings about settings that
// would have no effect.
func (l *loader) checkPolicy(cfg *config.Config, list []managed) (warnings []string, err error) {
	if cfg.Policy.Name == "" {
		return nil, nil
	}
	c, err := l.constructor(cfg)
	if err != nil {
		return nil, err
	}
	p, err := l.makePolicy(cfg, c.make, measured(list, &pathstat.Snapshot{}))
	if err != nil {
		return nil, err
	}
	warnings = unopened(cfg, p)
	if closer, ok := p.(io.Closer); ok {
		return warnings, closer.Close()
	}
	return warnings, nil
}

// Init returns a configuration for this host, for users to begin with.
func Init() (string, error) {
	nets, err := netmon.New(netmon.Options{}, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", fmt.Errorf("read the host's networks: %w", err)
	}
	defer nets.Close()
	var found []config.Network
	for _, m := range manage(config.Auto(), nets.Snapshot(), nil) {
		found = append(found, config.Network{Interface: m.prefix.Interface, Prefix: m.prefix.CIDR, Default: m.prefix.Default})
	}
	return config.Init(found), nil
}

// Dump writes the daemon's state to w. SIGUSR1 does the same.
func (d *Daemon) Dump(w io.Writer) error {
	return d.manager.View().WriteDump(w, time.Now(), d.current.unmanaged()...)
}
