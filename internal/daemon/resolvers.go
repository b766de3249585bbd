package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/hostfacts"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/resolve"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// resolvers makes the resolvers of prefixes. It keeps a resolver with its cache from
// one View to the next, as long as its setup stays the same. It is not safe for
// concurrent use.
type resolvers struct {
	log     *slog.Logger
	unbound *resolve.Resolver            // the host's own, bound to no prefix
	bySetup map[string]*resolve.Resolver // the resolvers of prefixes; prefixes with the same setup share one
}

// closeDelay is how long an unused resolver stays open, because lookups may still be
// running in it.
const closeDelay = mam.DefaultResolveTimeout

func newResolvers(log *slog.Logger) *resolvers {
	return &resolvers{log: log, unbound: resolve.New(resolve.Config{}, log), bySetup: map[string]*resolve.Resolver{}}
}

// of returns the resolvers of the prefixes that have one of their own, and the domains
// that are looked up elsewhere. A prefix without name server and source address uses
// the default resolver.
func (r *resolvers) of(cfg *config.Config, nets *netmon.Snapshot, list []managed, facts *hostfacts.Facts) (map[policy.PrefixID]mam.Resolver, *domains) {
	used := map[string]*resolve.Resolver{}
	out := map[policy.PrefixID]mam.Resolver{}
	for i := range list {
		s := &list[i].settings
		if len(s.Nameservers) == 0 && s.ResolvConf == "" && !s.DNSBindTo.IsValid() {
			continue
		}
		out[list[i].prefix.ID] = lookup{r.get(list[i].resolverSetup(), used)}
	}
	names := r.routeNames(cfg, nets, list, facts, used)
	for setup, res := range r.bySetup {
		if used[setup] == nil {
			time.AfterFunc(closeDelay, func() { _ = res.Close() })
		}
	}
	r.bySetup = used
	return out, names
}

// forget drops what names were found to be.
func (r *resolvers) forget() {
	r.unbound.Flush()
	for _, res := range r.bySetup {
		res.Flush()
	}
}

// get returns the resolver for a setup, makes it if there is none, and marks it as
// used.
func (r *resolvers) get(cfg resolve.Config, used map[string]*resolve.Resolver) *resolve.Resolver {
	setup := fmt.Sprint(cfg.Servers, cfg.ResolvConf, cfg.BindTo, cfg.Device, cfg.Configured)
	res := r.bySetup[setup]
	if res == nil {
		res = used[setup]
	}
	if res == nil {
		res = resolve.New(cfg, r.log)
	}
	used[setup] = res
	return res
}

// resolverSetup returns the setup of a prefix's own resolver.
func (m *managed) resolverSetup() resolve.Config {
	s := &m.settings
	cfg := resolve.Config{
		Servers: s.Nameservers, ResolvConf: s.ResolvConf, BindTo: s.DNSBindTo, Device: m.device,
		Configured: !m.fromLink && (len(s.Nameservers) > 0 || s.ResolvConf != ""),
	}
	if !cfg.BindTo.IsValid() {
		cfg.BindTo = m.prefix.Addr()
	}
	// If all servers are of the other family, none can be asked from the prefix's
	// address. Binding to the device then makes the queries leave by the right link.
	if s.ResolvConf == "" && !slices.ContainsFunc(cfg.Servers, func(a netip.AddrPort) bool {
		return a.Addr().Is4() == cfg.BindTo.Is4() || a.Addr().IsLoopback()
	}) && len(cfg.Servers) > 0 {
		cfg.Device = m.prefix.Interface
	}
	return cfg
}

// nameServers returns the managed prefixes that each name server belongs to. Either the
// configuration gives the server to them, or the host's network manager does.
func nameServers(list []managed) map[netip.Addr][]policy.PrefixID {
	out := map[netip.Addr][]policy.PrefixID{}
	for i := range list {
		for _, s := range list[i].settings.Nameservers {
			if a := s.Addr(); !a.IsLoopback() {
				out[a] = append(out[a], list[i].prefix.ID)
			}
		}
	}
	return out
}

func (r *resolvers) close() {
	_ = r.unbound.Close()
	for _, res := range r.bySetup {
		_ = res.Close()
	}
}

// lookup wraps a resolve.Resolver as a mam.Resolver.
type lookup struct{ r *resolve.Resolver }

func (l lookup) Lookup(ctx context.Context, host string, f policy.Family) (mam.Result, error) {
	a, err := l.r.Lookup(ctx, host, f)
	if err != nil {
		if e := (*resolve.Error)(nil); errors.As(err, &e) && e.NotFound {
			err = fmt.Errorf("%w: %w", mam.ErrNotFound, err)
		}
		return mam.Result{}, err
	}
	return mam.Result{Addrs: a.Addrs, Canonical: a.Name}, nil
}

// Servers returns the servers that the resolver asks. It is for showing them.
func (l lookup) Servers() []netip.AddrPort { return l.r.Servers() }
