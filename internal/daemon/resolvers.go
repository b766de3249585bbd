package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/network/resolve"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// resolvers keeps the resolvers, and with them their caches, from one View to
// the next. It is not safe for concurrent use.
type resolvers struct {
	log     *slog.Logger
	unbound *resolve.Resolver
	bySetup map[string]*resolve.Resolver
}

// closeDelay is how long a resolver that is not in use any more lives on, for
// the lookups that were on their way.
const closeDelay = mam.DefaultResolveTimeout

func newResolvers(log *slog.Logger) *resolvers {
	return &resolvers{log: log, unbound: resolve.New(resolve.Config{}, log), bySetup: map[string]*resolve.Resolver{}}
}

// of returns the resolvers of those prefixes that have one of their own. A
// prefix that names no server and no source address uses the default one.
func (r *resolvers) of(list []managed) map[policy.PrefixID]mam.Resolver {
	used := map[string]*resolve.Resolver{}
	out := map[policy.PrefixID]mam.Resolver{}
	for i := range list {
		s := &list[i].settings
		if len(s.Nameservers) == 0 && s.ResolvConf == "" && !s.DNSBindTo.IsValid() {
			continue
		}
		cfg := resolve.Config{
			Servers: s.Nameservers, ResolvConf: s.ResolvConf, BindTo: s.DNSBindTo, Device: list[i].device,
			Configured: !list[i].fromLink && (len(s.Nameservers) > 0 || s.ResolvConf != ""),
		}
		if !cfg.BindTo.IsValid() {
			cfg.BindTo = list[i].prefix.Addr()
		}
		// Servers that are all of the other family are held on the link by the
		// device in place of the address.
		if s.ResolvConf == "" && !slices.ContainsFunc(cfg.Servers, func(a netip.AddrPort) bool {
			return a.Addr().Is4() == cfg.BindTo.Is4() || a.Addr().IsLoopback()
		}) && len(cfg.Servers) > 0 {
			cfg.Device = list[i].prefix.Interface
		}
		setup := fmt.Sprint(cfg.Servers, cfg.ResolvConf, cfg.BindTo, cfg.Device, cfg.Configured)
		res := r.bySetup[setup]
		if res == nil {
			res = used[setup]
		}
		if res == nil {
			res = resolve.New(cfg, r.log)
		}
		used[setup] = res
		out[list[i].prefix.ID] = lookup{res}
	}
	for setup, res := range r.bySetup {
		if used[setup] == nil {
			time.AfterFunc(closeDelay, func() { _ = res.Close() })
		}
	}
	r.bySetup = used
	return out
}

// nameServers tells which managed prefixes a name server belongs to: those for
// which it is configured, or known to the host's network manager.
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

// lookup makes a mam.Resolver of a resolve.Resolver.
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

// Servers lists whom the resolver asks, for people.
func (l lookup) Servers() []netip.AddrPort { return l.r.Servers() }
