package hostfacts

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"

	"github.com/godbus/dbus/v5"
)

// The interfaces of systemd-networkd (org.freedesktop.network1(5), version 249 or
// later; earlier ones cannot describe a link).
const (
	networkdName    = "org.freedesktop.network1"
	networkdPath    = "/org/freedesktop/network1"
	networkdManager = networkdName + ".Manager"
	networkdLink    = networkdName + ".Link"
)

// networkdFacts is what systemd-networkd says.
type networkdFacts struct {
	links map[string]networkdState
	dns   map[int]DNS
	// unmanaged are the names, by index, of the interfaces that it leaves to others.
	// Nobody can give these name servers, and the end of this state is signalled.
	unmanaged map[int]string
}

// networkdState is what systemd-networkd says about an interface, apart from its name
// servers.
type networkdState struct {
	online string // "online", "partial" or "offline"
	portal string // address for the users of a captive portal, or for programs (RFC 8910)
}

// networkd asks systemd-networkd.
type networkd struct {
	// list returns index, name and path of all interfaces.
	list func(ctx context.Context) ([][]any, error)
	// describe returns what is known of an interface, in JSON.
	describe func(ctx context.Context, path dbus.ObjectPath) (string, error)
	// ours returns the names of the interfaces of this process's network namespace, by
	// index. On the bus there may be a systemd-networkd of another one.
	ours func() (map[int]string, error)
}

// read asks about all interfaces. If before is not nil, it is the previous answer, after
// which nothing was signalled. Interfaces that were unmanaged then are not asked about.
func (n *networkd) read(ctx context.Context, before *networkdFacts) (networkdFacts, error) {
	list, err := n.list(ctx)
	if err != nil {
		return networkdFacts{}, err
	}
	ours, err := n.ours()
	if err != nil {
		return networkdFacts{}, err
	}
	out := networkdFacts{links: map[string]networkdState{}, dns: map[int]DNS{}, unmanaged: map[int]string{}}
	asked := 0
	for _, e := range list {
		index, ok := entryIndex(e)
		if !ok || len(e) != 3 || asked == maxObjects {
			continue
		}
		name, _ := e[1].(string)
		path, _ := e[2].(dbus.ObjectPath)
		if ours[index] != name || name == "" || len(path) > maxText || !path.IsValid() {
			continue
		}
		asked++
		if before != nil && before.unmanaged[index] == name {
			out.unmanaged[index] = name
			if s, ok := before.links[name]; ok {
				out.links[name] = s
			}
			continue
		}
		text, err := n.describe(ctx, path)
		switch {
		case hung(err):
			return networkdFacts{}, err
		case err != nil: // it vanished meanwhile
			continue
		}
		out.add(index, name, []byte(text))
	}
	return out, nil
}

// add takes over the description of an interface.
func (f *networkdFacts) add(index int, name string, text []byte) {
	var d struct {
		OnlineState, CaptivePortal, AdministrativeState string
		DNS, SearchDomains, RouteDomains, DNSSettings   []json.RawMessage
	}
	// A field of another type counts as unknown; the others are read all the same.
	if err := json.Unmarshal(text, &d); err != nil && !errors.As(err, new(*json.UnmarshalTypeError)) {
		return
	}
	if d.AdministrativeState == "unmanaged" {
		f.unmanaged[index] = name
	}
	switch d.OnlineState {
	case "online", "partial", "offline":
	default:
		d.OnlineState = ""
	}
	if s := (networkdState{d.OnlineState, portal(d.CaptivePortal)}); s != (networkdState{}) {
		f.links[name] = s
	}
	dns := DNS{Source: Networkd}
	for _, e := range d.DNS {
		if s, ok := networkdServer(index, e); ok && len(dns.Servers) < maxServers && !slices.Contains(dns.Servers, s) {
			dns.Servers = append(dns.Servers, s)
		}
	}
	if len(dns.Servers) == 0 || len(f.dns) == maxDNS {
		return
	}
	routed := false // some domains are for routing only
	for i, list := range [][]json.RawMessage{d.SearchDomains, d.RouteDomains} {
		for _, e := range list {
			var domain struct{ Domain string }
			if json.Unmarshal(e, &domain) != nil {
				continue
			}
			dns.Root = dns.Root || domain.Domain == Root // even if there is no room for more
			name := domainName(domain.Domain)
			routed = routed || i == 1 && name != "" // likewise
			if name == "" || len(dns.Domains) == maxDomains || slices.ContainsFunc(dns.Domains, func(d Domain) bool { return d.Name == name }) {
				continue
			}
			dns.Domains = append(dns.Domains, Domain{Name: name, RouteOnly: i == 1})
		}
	}
	// Without a setting, systemd-resolved takes servers with domains for routing for
	// those domains only (resolved.conf(5), systemd.network(5)). The root is a domain like
	// the others, and counts even if the setting is "no".
	dns.DefaultRoute = !routed
	dns.settings(d.DNSSettings)
	dns.DefaultRoute = dns.DefaultRoute || dns.Root
	f.dns[index] = dns
}

// settings reads the settings for names. Each is an object of its own.
func (d *DNS) settings(list []json.RawMessage) {
	for _, e := range list {
		var s struct {
			DNSDefaultRoute *bool
			DNSOverTLS      *string
		}
		if json.Unmarshal(e, &s) != nil {
			continue
		}
		if s.DNSDefaultRoute != nil {
			d.DefaultRoute = *s.DNSDefaultRoute
		}
		if s.DNSOverTLS != nil {
			d.TLS = *s.DNSOverTLS == "yes"
		}
	}
}

// networkdServer reads a name server of an interface. One that is to be asked over
// another interface is none of this one.
func networkdServer(index int, e json.RawMessage) (netip.AddrPort, bool) {
	var s struct {
		Family         int32
		Address        []uint16 // its bytes; of []byte Go would read another form, too
		Port           uint16
		InterfaceIndex int
	}
	if json.Unmarshal(e, &s) != nil || s.InterfaceIndex != 0 && s.InterfaceIndex != index {
		return netip.AddrPort{}, false
	}
	raw := make([]byte, 0, net.IPv6len)
	for _, b := range s.Address {
		if b > math.MaxUint8 || len(raw) == net.IPv6len {
			return netip.AddrPort{}, false
		}
		raw = append(raw, byte(b))
	}
	return server(index, []any{s.Family, raw, s.Port})
}

// portal reads the address of a captive portal (RFC 8910); "" if it is none that can be
// shown, or says that there is none.
func portal(text string) string {
	if text == "" || len(text) > maxText || text != printable(text) {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return text
}

// ownInterfaces lists the interfaces of this process's network namespace.
func ownInterfaces() (map[int]string, error) {
	list, err := net.Interfaces()
	names := make(map[int]string, len(list))
	for _, i := range list {
		names[i.Index] = i.Name
	}
	return names, err
}

// networkd returns what asks a process that has the name of systemd-networkd.
func (b *bus) networkd(to string) *networkd {
	return &networkd{
		list: func(ctx context.Context) ([][]any, error) {
			return only[[][]any](b.call(ctx, to, networkdPath, networkdManager+".ListLinks"))
		},
		describe: func(ctx context.Context, path dbus.ObjectPath) (string, error) {
			return only[string](b.call(ctx, to, path, networkdLink+".Describe"))
		},
		ours: ownInterfaces,
	}
}

// networkdChanges are the properties of systemd-networkd's interfaces whose changes
// matter. There is no signal for name servers.
var networkdChanges = map[string][]string{
	networkdManager: {"OperationalState", "CarrierState", "AddressState", "OnlineState"},
	networkdLink:    {"OperationalState", "AddressState", "OnlineState", "AdministrativeState"},
}
