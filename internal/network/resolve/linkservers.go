package resolve

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// LinkServers returns the name servers that the host's network manager has for an
// interface, in order, without those on loopback. It returns none if they are not
// known. run is the directory of run-time files; "" means /run. It looks into these
// files until one has servers:
//
//   - systemd/resolve/netif/INDEX, what systemd-resolved was told over D-Bus, as
//     by NetworkManager;
//   - systemd/netif/links/INDEX, of systemd-networkd, with servers from DHCP and
//     router advertisements;
//   - resolvconf/interface/NAME.* and resolvconf/interfaces/NAME.*, files as
//     resolv.conf(5) that DHCP clients hand to resolvconf(8).
//
// The first two are private to systemd, whose own library reads them. Whatever in them
// does not look as expected is skipped.
func LinkServers(run, name string, index int) []netip.AddrPort {
	if run == "" {
		run = "/run"
	}
	number := strconv.Itoa(index)
	for _, f := range []struct{ path, key string }{
		{filepath.Join(run, "systemd/resolve/netif", number), "SERVERS"},
		{filepath.Join(run, "systemd/netif/links", number), "DNS"},
	} {
		if s := assigned(readSmall(f.path), f.key); len(s) > 0 {
			return s
		}
	}
	for _, dir := range []string{"resolvconf/interface", "resolvconf/interfaces"} {
		entries, err := os.ReadDir(filepath.Join(run, dir))
		if err != nil {
			continue
		}
		var servers []netip.AddrPort
		for _, e := range entries {
			if recordOf(e.Name(), name) {
				for _, s := range parseResolvConf(readSmall(filepath.Join(run, dir, e.Name()))).servers {
					servers = appendServer(servers, s)
				}
			}
		}
		if len(servers) > 0 {
			return servers
		}
	}
	return nil
}

// LinkOnly returns those name servers of an interface that may be asked over it: at
// most 8, and none on loopback. Link-local addresses get the interface's name as their
// zone.
func LinkOnly(all []netip.AddrPort, name string) []netip.AddrPort {
	var servers []netip.AddrPort
	for _, s := range all {
		if a := s.Addr(); a.Zone() != "" {
			s = netip.AddrPortFrom(a.WithZone(name), s.Port())
		}
		servers = appendServer(servers, s)
	}
	return servers
}

// recordOf tells whether a record of resolvconf(8) belongs to an interface. Its name is
// the interface, a dot, and the program that wrote it. Names of VLANs contain dots as
// well ("eth0.100"), and so does what dhclient adds for IPv6 ("eth0.ip6.dhclient"). So
// the rest must look like the name of a program. In doubt the record does not belong,
// because another network's servers are worse than none.
func recordOf(record, name string) bool {
	if record == name {
		return true
	}
	program, ok := strings.CutPrefix(record, name+".")
	program = strings.TrimPrefix(program, "ip6.")
	return ok && program != "" && !strings.Contains(program, ".") && !isNumber(program)
}

func isNumber(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

// maxLinkFile bounds how much is read. It is far more than any of these files has.
const maxLinkFile = 64 << 10

// readSmall reads a file. A file that cannot be read counts as empty.
func readSmall(path string) []byte {
	data, _, err := readLines(path, maxLinkFile)
	if err != nil {
		return nil
	}
	return data
}

// assigned reads the servers in a line KEY=A B C. Each is an address, perhaps with a
// port, an interface, and the name in the server's certificate:
// "[2001:db8::1]:853%wlan0#dns.example.net".
func assigned(data []byte, key string) []netip.AddrPort {
	var servers []netip.AddrPort
	for line := range strings.Lines(string(data)) {
		value, ok := strings.CutPrefix(strings.TrimSpace(line), key+"=")
		if !ok {
			continue
		}
		for _, field := range strings.Fields(strings.Trim(value, `"`)) {
			field, _, _ = strings.Cut(field, "#")
			if s, ok := parseServer(field); ok {
				servers = appendServer(servers, s)
				continue
			}
			// This is an interface after a port. Addresses themselves never have one
			// there.
			if i := strings.LastIndexByte(field, '%'); i > 0 {
				if s, ok := parseServer(field[:i]); ok {
					servers = appendServer(servers, s)
				}
			}
		}
	}
	return servers
}

// appendServer appends a server, if it may be asked over a link.
func appendServer(servers []netip.AddrPort, s netip.AddrPort) []netip.AddrPort {
	a := s.Addr()
	if len(servers) >= maxServers || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || slices.Contains(servers, s) {
		return servers
	}
	return append(servers, s)
}
