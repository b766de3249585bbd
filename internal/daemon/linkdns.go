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

// linkDNSInterval is between two looks at the name servers of the interfaces.
const linkDNSInterval = 5 * time.Second

// runFiles is where the servers come from that are in files.
const runFiles = "files of the network manager"

// linkDNS knows the name servers that the host's network manager has for each
// interface: from systemd-resolved, else from files, which are read by look only. It is
// safe for concurrent use, look apart.
type linkDNS struct {
	run string // directory of run-time files; "": /run

	mu    sync.Mutex
	links map[int]linkServers // by interface index; not changed once it is here
}

// linkServers are the name servers of an interface.
type linkServers struct {
	servers []netip.AddrPort // none: the host's own resolver is to be asked
	source  string
}

func (l linkServers) equal(o linkServers) bool {
	return slices.Equal(l.servers, o.servers) && l.source == o.source
}

// look reads what there is of the interfaces with addresses and tells whether it
// has changed. Calls must not overlap. facts may be nil.
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

// lookAt finds the servers of an interface. Where systemd-resolved says that they are for
// the names of some domains only, or to be asked by TLS only, which we do not speak, the
// host's resolver is asked, which knows better.
func (l *linkDNS) lookAt(p *netmon.Prefix, facts *hostfacts.Facts) linkServers {
	if d := facts.DNS(p.Index); len(d.Servers) > 0 {
		s := linkServers{source: hostfacts.Resolved}
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

// use makes them the servers of those prefixes that name none and do not refuse
// it. In the original grammar a prefix that names none uses the default resolver.
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
