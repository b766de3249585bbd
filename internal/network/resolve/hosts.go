package resolve

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/policy"
)

// maxAddrs bounds the addresses kept of one name and family, whatever a server
// or a file lists; nobody tries more.
const maxAddrs = 64

// hosts is the content of a hosts file (hosts(5)).
type hosts struct {
	addrs map[string][]netip.Addr // by checked name; IPv4 before IPv6
}

// parseHosts reads what it understands and skips the rest.
func parseHosts(data []byte) *hosts {
	h := &hosts{addrs: make(map[string][]netip.Addr)}
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil || addr.Is4In6() {
			continue
		}
		for _, field := range fields[1:] {
			if name, err := checkName(field); err == nil {
				h.add(strings.Clone(name), addr)
			}
		}
	}
	return h
}

func (h *hosts) add(name string, addr netip.Addr) {
	list := h.addrs[name]
	if slices.Contains(list, addr) || len(list) >= maxAddrs {
		return
	}
	at := len(list)
	if addr.Is4() {
		at = len(ofFamily(list, policy.IPv4))
	}
	h.addrs[name] = slices.Insert(list, at, addr)
}
