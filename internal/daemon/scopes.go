package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/operator/control/metrics"
	"github.com/socket-intents/mamma/internal/scopes"
	"github.com/socket-intents/mamma/internal/scopes/hook"
	"github.com/socket-intents/mamma/internal/scopes/pins"
)

// newScopes makes what places connections of programs that take no part.
func (d *Daemon) newScopes(stateDir string) *scopes.Engine {
	return scopes.New(scopes.Options{
		Decider: d.manager, Log: d.log, Learnt: filepath.Join(stateDir, "scopes.json"),
		Shed:  (*hook.Table).Shed,
		Aside: func() ([]netip.Prefix, error) { return aside(d.nets.Kernel(), d.nets.Snapshot().Rules()) },
	})
}

// observe tells the sampler what the kernel says by itself of connections.
func (d *Daemon) observe(visit func(*pathstat.Observed)) bool {
	var o pathstat.Observed
	return d.scopes.Flows(func(f *hook.Flow) {
		o = pathstat.Observed{
			Local: f.Local, Remote: f.Remote, LocalPort: f.LocalPort, RemotePort: f.RemotePort, Device: f.Device, Cookie: f.Cookie, Silent: f.Silent, Timeouts: f.Timeouts, Segments: f.Segments,
			Sample: pathstat.Sample{RTT: f.RTT, RTTVar: f.RTTVar, Sent: f.Sent, Lost: f.Lost, Retrans: f.Retrans},
		}
		visit(&o)
	})
}

// aside lists the destinations that are, or may be, reached in a way of their own: those of
// each route of any table but default routes, and those that rules name. Where a rule looks
// at something else, such as the user, no destination is like another: it lists all.
func aside(k *oracle.Kernel, rules []netmon.Rule) ([]netip.Prefix, error) {
	everywhere := map[bool]netip.Prefix{false: netip.MustParsePrefix("0.0.0.0/0"), true: netip.MustParsePrefix("::/0")}
	var list []netip.Prefix
	for i := range rules {
		r := &rules[i]
		if looksFurther(r) {
			list = append(list, everywhere[r.V6])
		} else if r.Dst.IsValid() && r.Dst.Bits() > 0 {
			list = append(list, r.Dst)
		}
	}
	var errs []error
	for _, v6 := range []bool{false, true} {
		errs = append(errs, k.Routes(oracle.Filter{V6: v6}, func(r *oracle.Route) bool {
			if r.Prefix.Bits() > 0 {
				list = append(list, r.Prefix)
			}
			return true
		}))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err // what was interrupted by a change is done again, as there is an event
	}
	return list, nil
}

// looksFurther tells whether a rule holds for some connections of sockets without a mark
// and not for others to the same destination from the same source.
func looksFurther(r *netmon.Rule) bool {
	return r.Invert || r.Users || r.Protocol != 0 || r.Port || r.SourcePort || r.TOS != 0 || r.Other || r.Mask != 0 && r.Mark == 0
}

// scopesState is what the control socket shows of scopes.
func (d *Daemon) scopesState(ctx context.Context) (control.Scopes, error) {
	s, err := d.scopes.State(ctx)
	if err != nil {
		return control.Scopes{}, err
	}
	out := control.Scopes{
		Scopes: []control.Scope{}, Root: orNil(s.Root), Hooks: listOf(s.Hooks), MissingHooks: listOf(s.Missing), Measured: s.Measured, Kept: s.Kept, Detached: s.Detached,
		Unseen: s.Lost, Groups: s.Groups, Destinations: s.Destinations, Aside: s.Aside,
	}
	if s.Err != nil {
		out.Error = orNil(s.Err.Error())
	}
	if s.Single != nil {
		out.MPTCPError = orNil(s.Single.Error())
	}
	for i := range s.Scopes {
		out.Scopes = append(out.Scopes, encodeScope(&s.Scopes[i]))
	}
	return out, nil
}

// scopesMetrics is what metrics tell of scopes, false if there are none. A scrape does not
// wait for long.
func (d *Daemon) scopesMetrics() (metrics.Scopes, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s, err := d.scopes.State(ctx)
	if err != nil || len(s.Scopes) == 0 {
		return metrics.Scopes{}, false
	}
	return scopesTotals(&s), true
}

// scopesTotals adds all scopes up.
func scopesTotals(s *scopes.State) metrics.Scopes {
	out := metrics.Scopes{Configured: len(s.Scopes), Attached: len(s.Hooks) > 0, Unseen: s.Lost}
	groups := map[string]bool{} // one with several users or commands may be of several scopes
	for i := range s.Scopes {
		c := &s.Scopes[i].Counts
		out.Placed, out.Left, out.Refused, out.Unbound = out.Placed+c.Placed, out.Left+c.Left, out.Refused+c.Refused, out.Unbound+c.Failed
		for _, g := range s.Scopes[i].Groups {
			groups[g] = true
		}
	}
	out.Groups = len(groups)
	return out
}

func encodeScope(s *scopes.ScopeState) control.Scope {
	out := control.Scope{
		Name: s.Name, Line: s.Pos.Line, Units: listOf(s.Units), Slices: listOf(s.Slices), Cgroups: listOf(s.Scope.Groups),
		Users: listOf(s.Users), Commands: listOf(s.Commands), Groups: listOf(s.Groups), Usual: encodeUsual(s.Usual), Variants: []control.ScopeVariant{},
		MPTCP: s.MPTCP, Learning: s.Learning, Learnt: s.Learnt,
		Placed: s.Counts.Placed, Left: s.Counts.Left, Refused: s.Counts.Refused, Failed: s.Counts.Failed,
	}
	out.Put(s.Intents)
	var wants []string
	for _, w := range s.Selection() {
		wants = append(wants, selectionText(w))
	}
	out.Selection = orNil(strings.Join(wants, ", "))
	for i := range s.Variants {
		v := &s.Variants[i]
		x := control.ScopeVariant{Source: v.Source, Usual: encodeUsual(v.Usual)}
		x.Put(v.Intents)
		out.Variants = append(out.Variants, x)
	}
	return out
}

func encodeUsual(list []scopes.UsualState) []control.ScopeAnswer {
	out := []control.ScopeAnswer{}
	for i := range list {
		u := &list[i]
		a := control.ScopeAnswer{Family: u.Family.String(), Transport: u.Transport.String(), Kind: u.Kind.String(), Reason: u.Reason}
		a.Put(u.Prefix)
		out = append(out, a)
	}
	return out
}

// selectionText is a want in the words of control.Decision.Selection.
func selectionText(w config.Want) string {
	return w.Degree.String() + " " + w.Kind.String() + " " + w.Name
}

// inCgroup2 tells whether dir is a directory of cgroup2, or cannot be looked at.
func inCgroup2(dir string) bool {
	var fs unix.Statfs_t
	err := unix.Statfs(dir, &fs)
	return errors.Is(err, unix.EACCES) || err == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}

func listOf(list []string) []string { return append([]string{}, list...) }

// multipathDoubts tells of scopes that cannot have Multipath TCP on this host. It needs the rights
// that scopes need. Without them nobody knows.
func multipathDoubts(cfg *config.Config) (warnings []string) {
	at := slices.IndexFunc(cfg.Scopes, func(s config.Scope) bool { return s.MPTCP })
	if at < 0 {
		return nil
	}
	table, err := hook.Load()
	if err != nil {
		return nil
	}
	defer table.Close()
	if err := table.LoadMultipath(); err != nil {
		s := &cfg.Scopes[at]
		return []string{cfg.ErrorAt(s.Pos, "scope %q: mptcp = true does nothing: %v", s.Name, err).Error()}
	}
	return nil
}

// scopeDoubts tells of scopes that match nothing on this host, or permit no network, for
// reasons that do not pass, and of directories that scopes cannot use.
func scopeDoubts(cfg *config.Config) (warnings []string) {
	names := map[string]bool{}
	for i := range cfg.Blocks {
		names[cfg.Blocks[i].Name] = true
	}
	if dir := cfg.Placing.Pins; dir != "" && dir != config.Off {
		if err := pins.Check(dir); err != nil {
			warnings = append(warnings, fmt.Sprintf("%s: pin_dir in scopes: no connection is placed while mamma does not run: %v", cfg.File, err))
		}
	}
	if dir := cfg.Placing.Root; dir != "" && !inCgroup2(dir) {
		warnings = append(warnings, fmt.Sprintf("%s: cgroup_root in scopes: %s is not a directory of cgroup2: no connection of a scope is placed", cfg.File, dir))
	}
	warnings = append(warnings, scopes.Doubts(cfg.Scopes, func(at config.Pos, w string) string { return cfg.ErrorAt(at, "%s", w).Error() })...)
	for i := range cfg.Scopes {
		s := &cfg.Scopes[i]
		for _, w := range s.Wants {
			if w.Kind == config.ByNetwork && !names[w.Name] {
				warnings = append(warnings, cfg.ErrorAt(s.Pos, "scope %q: no network is called %q (name = %q in a prefix or interface block)", s.Name, w.Name, w.Name).Error())
			}
		}
	}
	return warnings
}
