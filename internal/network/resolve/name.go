package resolve

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// Bounds of names in text form, without the final dot (RFC 1035 section 2.3.4).
const (
	maxName  = 253
	maxLabel = 63
)

// literal parses an IP address, which may have a zone.
func literal(host string) (netip.Addr, bool) {
	// This test saves time: most hosts are names, and ParseAddr would make an error for
	// each of them.
	if host == "" || len(host) > maxName || !strings.Contains(host, ":") && !isDigit(host[len(host)-1]) {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(host)
	return addr, err == nil
}

// checkName returns a host name in lower case without the final dot, or an error that
// says why it is not a host name. Letters, digits, hyphens and underscores are accepted. A
// name whose last label is a number is refused, because some libraries read it as an
// address. It is returned together with errNumber, because hosts files may contain such
// names.
func checkName(host string) (string, error) {
	name := strings.TrimSuffix(host, ".")
	if name == "" {
		return "", errors.New("empty name")
	}
	if len(name) > maxName {
		return "", errors.New("name is longer than 253 bytes")
	}
	label, digits, upper := 0, 0, false
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '.':
			if label == 0 {
				return "", errors.New("name has an empty label")
			}
			label, digits = 0, 0
			continue
		case isDigit(c):
			digits++
		case 'A' <= c && c <= 'Z':
			upper = true
		case 'a' <= c && c <= 'z', c == '-', c == '_':
		case c >= 0x80:
			return "", errors.New("name is not ASCII; internationalised names are written as xn--…")
		default:
			return "", errors.New("name has an invalid character")
		}
		if label++; label > maxLabel {
			return "", errors.New("name has a label longer than 63 bytes")
		}
	}
	if label == 0 {
		return "", errors.New("name has an empty label")
	}
	if upper {
		name = strings.ToLower(name)
	}
	if label == digits {
		return name, errNumber
	}
	return name, nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// quote returns host unchanged if it is fit for a log, else quoted and shortened.
func quote(host string) string {
	if _, err := checkName(host); err == nil {
		return host
	}
	if _, ok := literal(host); ok {
		return host
	}
	if len(host) > maxName {
		host = host[:maxName]
	}
	return strconv.Quote(host)
}

func loopbackAddrs() []netip.Addr {
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
}

// candidates returns the number of names that candidate makes of one host.
func (s *settings) candidates() int { return len(s.search) + 1 }

// candidate returns the i-th name to look up for host, whose checked form is name; ""
// means to skip it. If host has fewer dots than ndots, the search list comes before the
// name itself, else after it (resolv.conf(5)).
func (s *settings) candidate(host, name string, i int) string {
	if host[len(host)-1] == '.' {
		if i == 0 {
			return name
		}
		return ""
	}
	dots, own := strings.Count(name, "."), 0
	if dots < s.ndots {
		own = len(s.search)
	}
	switch {
	case i == own && s.noTLD && dots == 0:
		return ""
	case i == own:
		return name
	case i > own:
		i--
	}
	if len(name)+1+len(s.search[i]) > maxName {
		return ""
	}
	return name + "." + s.search[i]
}
