package daemon

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/resolve"
)

// linkDNSInterval is between two looks at the name servers of the interfaces.
const linkDNSInterval = 5 * time.Second

// linkDNS knows the name servers that the host's network manager has for each
// interface. They are in files, which are read by look only. It is safe for
// concurrent use, look apart.
type linkDNS struct {
	run string // directory of run-time files; "": /run

	mu      sync.Mutex
	servers map[int][]netip.AddrPort // by interface index; not changed once it is here
}

// look reads what there is of the interfaces with addresses and tells whether it
// has changed. Calls must not overlap.
func (l *linkDNS) look(nets *netmon.Snapshot) (changed bool) {
	found, seen := map[int][]netip.AddrPort{}, map[int]bool{}
	for _, p := range nets.Prefixes() {
		if seen[p.Index] {
			continue
		}
		seen[p.Index] = true
		if servers := resolve.LinkServers(l.run, p.Interface, p.Index); len(servers) > 0 {
			found[p.Index] = servers
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	changed = !maps.EqualFunc(l.servers, found, slices.Equal)
	l.servers = found
	return changed
}

// use makes them the servers of those prefixes that name none and do not refuse
// it. In the original grammar a prefix that names none uses the default resolver.
func (l *linkDNS) use(cfg *config.Config, list []managed) {
	l.mu.Lock()
	known := l.servers
	l.mu.Unlock()
	for i := range list {
		s := &list[i].settings
		wanted := !cfg.Original
		if s.LinkDNS != nil {
			wanted = *s.LinkDNS
		}
		if wanted && len(s.Nameservers) == 0 && s.ResolvConf == "" {
			s.Nameservers = known[list[i].prefix.Index]
			list[i].fromLink = true
		}
	}
}
