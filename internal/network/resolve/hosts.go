package resolve

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/socket-intents/mamma/policy"
)

// maxAddrs bounds the addresses that are kept of one name and family, whatever a server
// or a file lists. Nobody tries more.
const maxAddrs = 64

// hosts is the content of a hosts file (hosts(5)).
type hosts struct {
	addrs map[string][]netip.Addr // by checked name; IPv4 before IPv6
}

// parseHosts reads the lines that it understands and skips the rest.
func parseHosts(data []byte) *hosts {
	h := &hosts{addrs: make(map[string][]netip.Addr)}
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		addr = addr.Unmap() // a mapped address is meant as the IPv4 address
		for _, field := range fields[1:] {
			if name, err := checkName(field); err == nil || errors.Is(err, errNumber) && !oldAddress(name) {
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

// oldAddress tells whether the C library reads a name as an IPv4 address in a form of
// inet_aton(3), such as "127.1" and "3232235777". The C library never looks for such a
// name in a hosts file.
func oldAddress(name string) bool {
	parts := strings.Split(name, ".")
	if len(parts) > 4 {
		return false
	}
	for i, part := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		n, err := strconv.ParseUint(cNumber(part))
		if err != nil || n>>bits != 0 {
			return false
		}
	}
	return true
}

// cNumber prepares a number that is written as in C (decimal, octal or hexadecimal) for
// strconv.ParseUint. Base 0 of that function accepts more forms than C.
func cNumber(s string) (digits string, base, bits int) {
	switch {
	case strings.HasPrefix(s, "0x"):
		return s[2:], 16, 64
	case len(s) > 1 && s[0] == '0':
		return s[1:], 8, 64
	}
	return s, 10, 64
}
