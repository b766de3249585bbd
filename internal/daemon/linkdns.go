package daemon

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/hostfacts"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/resolve"
)

// linkDNSInterval is the time between two looks at the interfaces' name servers.
const linkDNSInterval = 5 * time.Second

// runFiles is the source that is shown for name servers read from files.
const runFiles = "files of the network manager"

// linkDNS knows the name servers that the host's network manager has for each
// interface. They come from systemd-resolved, else from systemd-networkd, or else from
// files, which only the method look reads. Methods but look are safe for concurrent use.
type linkDNS struct {
	run string // directory of run-time files; "": /run

	mu    sync.Mutex
	links map[int]linkServers // by interface index; a map in here is never changed
}

// linkServers are the name servers of an interface.
type linkServers struct {
	servers []netip.AddrPort // empty: ask the host's own resolver
	source  string
}

func (l linkServers) equal(o linkServers) bool {
	return slices.Equal(l.servers, o.servers) && l.source == o.source
}

// look reads the name servers of all interfaces with addresses, and tells whether they
// have changed. Calls must not overlap. facts may be nil.
func (l *linkDNS) look(nets *netmon.Snapshot, facts *hostfacts.Facts) (changed bool) {
	found, seen := map[int]linkServers{}, map[int]bool{}
	for _, p := range nets.Prefixes() {
		if seen[p.Index] {
			continue
		}
		seen[p.Index] = true
		if s := l.lookAt(&p, facts); s.source != "" {
			found[p.Index] = s
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	changed = !maps.EqualFunc(l.links, found, linkServers.equal)
	l.links = found
	return changed
}

// lookAt finds the name servers of an interface. In two cases it returns none, and the
// host's own resolver is asked instead: their source says that the servers are only for
// some domains, or that they must be asked over TLS, which mamma does not speak.
func (l *linkDNS) lookAt(p *netmon.Prefix, facts *hostfacts.Facts) linkServers {
	if d := facts.DNS(p.Index); len(d.Servers) > 0 {
		s := linkServers{source: d.Source}
		if d.DefaultRoute && !d.TLS {
			s.servers = resolve.LinkOnly(d.Servers, p.Interface)
		}
		return s
	}
	if servers := resolve.LinkServers(l.run, p.Interface, p.Index); len(servers) > 0 {
		return linkServers{servers: servers, source: runFiles}
	}
	return linkServers{}
}

// use gives these servers to the prefixes that name none and do not refuse them. In the
// original grammar a prefix without servers keeps the default resolver.
func (l *linkDNS) use(cfg *config.Config, list []managed) {
	l.mu.Lock()
	known := l.links
	l.mu.Unlock()
	for i := range list {
		s := &list[i].settings
		wanted := !cfg.Original
		if s.LinkDNS != nil {
			wanted = *s.LinkDNS
		}
		if wanted && len(s.Nameservers) == 0 && s.ResolvConf == "" {
			of := known[list[i].prefix.Index]
			s.Nameservers = of.servers
			list[i].fromLink, list[i].linkSource = true, of.source
		}
	}
}
