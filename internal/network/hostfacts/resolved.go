package hostfacts

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// The interfaces of systemd-resolved (org.freedesktop.resolve1(5), version 246 or later).
const (
	resolvedName    = "org.freedesktop.resolve1"
	resolvedPath    = "/org/freedesktop/resolve1"
	resolvedManager = resolvedName + ".Manager"
	resolvedLink    = resolvedName + ".Link"
)

// readResolved asks systemd-resolved. Its manager object has the servers and domains of
// all interfaces. The other facts are read from the objects of those interfaces that
// have servers.
func readResolved(ctx context.Context, get getAll) (map[int]DNS, error) {
	manager, err := get(ctx, resolvedPath, resolvedManager)
	if err != nil {
		return nil, err
	}
	all := linkServers(manager)
	domains, roots := linkDomains(manager)
	for index, d := range all {
		link, err := get(ctx, linkPath(index), resolvedLink)
		switch {
		case hung(err):
			return nil, err
		case err != nil: // the interface vanished meanwhile
			delete(all, index)
			continue
		}
		d.Source, d.Domains, d.Root = Resolved, domains[index], roots[index]
		// Before version 240 this property did not exist, and the servers were for all
		// names.
		if route, known := of[bool](link, "DefaultRoute"); !known || route || d.Root {
			d.DefaultRoute = true
		}
		tls, _ := of[string](link, "DNSOverTLS")
		d.TLS = tls == "yes"
		all[index] = d
	}
	return all, nil
}

// linkPath returns the path of an interface's object. If the first byte of a label is a
// digit, systemd encodes it as "_" and its hexadecimal code (sd_bus_path_encode(3)).
func linkPath(index int) dbus.ObjectPath {
	n := strconv.Itoa(index)
	return dbus.ObjectPath(fmt.Sprintf("%s/link/_%02x%s", resolvedPath, n[0], n[1:]))
}

// linkServers reads the name servers by interface. DNSEx is an array of structures of
// index, family, address, port and name. The older DNS lacks port and name.
func linkServers(manager props) map[int]DNS {
	list, _ := of[[][]any](manager, "DNSEx")
	if list == nil {
		list, _ = of[[][]any](manager, "DNS")
	}
	out := map[int]DNS{}
	for _, e := range list {
		index, ok := entryIndex(e)
		if !ok || len(e) < 3 {
			continue
		}
		d, known := out[index]
		if !known && len(out) == maxDNS || len(d.Servers) == maxServers {
			continue
		}
		if s, ok := server(index, e[1:]); ok && !slices.Contains(d.Servers, s) {
			d.Servers = append(d.Servers, s)
			out[index] = d
		}
	}
	return out
}

// entryIndex returns the interface that an entry is about. It returns false if the
// entry is about none.
func entryIndex(e []any) (int, bool) {
	if len(e) == 0 {
		return 0, false
	}
	index, ok := e[0].(int32)
	return int(index), ok && index > 0
}

// server reads the family, address and port of an entry.
func server(index int, e []any) (netip.AddrPort, bool) {
	family, _ := e[0].(int32)
	raw, _ := e[1].([]byte)
	a, ok := netip.AddrFromSlice(raw)
	if !ok || (family == unix.AF_INET) != a.Is4() || (family == unix.AF_INET6) != a.Is6() {
		return netip.AddrPort{}, false
	}
	a = a.Unmap()
	if a.IsLinkLocalUnicast() && a.Is6() {
		a = a.WithZone(strconv.Itoa(index))
	}
	port := uint16(0)
	if len(e) > 2 {
		port, _ = e[2].(uint16)
	}
	return netip.AddrPortFrom(a, cmp.Or(port, 53)), true
}

// linkDomains reads the domains by interface: an array of structures of index, domain,
// and whether the domain is for routing only. Of the root, which stands for everything,
// it returns the interfaces that have it.
func linkDomains(manager props) (out map[int][]Domain, roots map[int]bool) {
	list, _ := of[[][]any](manager, "Domains")
	out, roots = map[int][]Domain{}, map[int]bool{}
	for _, e := range list {
		index, ok := entryIndex(e)
		if !ok || len(e) != 3 {
			continue
		}
		name, _ := e[1].(string)
		only, ok := e[2].(bool)
		if name == Root && ok && len(roots) < maxDNS {
			roots[index] = true
		}
		if len(out[index]) == maxDomains || len(out) == maxDNS && out[index] == nil {
			continue
		}
		if name = domainName(name); ok && name != "" && !slices.ContainsFunc(out[index], func(d Domain) bool { return d.Name == name }) {
			out[index] = append(out[index], Domain{Name: name, RouteOnly: only})
		}
	}
	return out, roots
}

// domainName returns a domain in lower case and without its final dot. It returns ""
// for the root, and for a text that is not a name (RFC 1035 section 2.3.4: labels of at
// most 63 bytes, names of 253).
func domainName(name string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if len(name) > 253 || name != printable(name) {
		return ""
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return ""
		}
	}
	return name
}

// resolvedChanges are the properties of systemd-resolved's interfaces whose changes
// matter. There is no signal for domains, nor for interfaces that come and go.
var resolvedChanges = map[string][]string{
	resolvedManager: {"DNS", "DNSEx", "CurrentDNSServer", "Domains", "DNSOverTLS"},
	resolvedLink:    {"DNS", "DNSEx", "Domains", "DefaultRoute", "DNSOverTLS"},
}
