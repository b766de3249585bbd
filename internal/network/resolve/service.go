package resolve

import (
	"fmt"
	"net"
	"strconv"
)

// maxService is longer than any registered service name (RFC 6335 section 5.1
// allows 15 bytes).
const maxService = 64

// Port returns the port of a service: a decimal number from 0 to 65535, or a
// name in the host's services database, without which the common ones are still
// known. The network is "tcp" or "udp"; with "" a name may be of either, tcp
// before udp. Other numbers than decimal ones, which the original takes, are
// refused (doc/original/client-and-socks.md 7.2).
func Port(network, service string) (uint16, error) {
	if service != "" && isDecimal(service) {
		n, err := strconv.ParseUint(service, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("port %s: not in 0 to 65535", quote(service))
		}
		return uint16(n), nil
	}
	// The library would also take signs and, for "", port 0.
	if len(service) > maxService || !isServiceName(service) {
		return 0, fmt.Errorf("service %s: neither a port nor a name", quote(service))
	}
	networks := []string{network}
	if network == "" {
		networks = []string{"tcp", "udp"}
	}
	var err error
	for _, network := range networks {
		var n int
		if n, err = net.LookupPort(network, service); err == nil {
			return uint16(n), nil
		}
	}
	return 0, fmt.Errorf("service %s: %w", quote(service), err)
}

// NormalizeService returns the decimal port of a service of any protocol, so
// that "https" and "443" are one, and what has none as it is
// (doc/original/client-and-socks.md 7.2).
func NormalizeService(service string) string {
	port, err := Port("", service)
	if err != nil {
		return service
	}
	return strconv.Itoa(int(port))
}

func isDecimal(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

// isServiceName tells whether s could stand in a services file: it begins with
// a letter or digit and has no blanks or control characters.
func isServiceName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '#' {
			return false
		}
	}
	return s != "" && s[0] != '-' && s[0] != '+'
}
