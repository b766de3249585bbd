package hostfacts

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/policy"
)

// The services, by the names that people use.
const (
	NetworkManager = "NetworkManager"
	ModemManager   = "ModemManager"
	Resolved       = "systemd-resolved"
	Networkd       = "systemd-networkd"
)

// Facts is what the services say at one moment. It is immutable. The zero value means
// that no service is there.
type Facts struct {
	Services []Service // the running ones, in a fixed order
	links    map[string]Link
	dns      map[int]DNS
}

// NewFacts combines what is known about interfaces, by name, with what is known about
// their name servers, by index. It keeps both maps.
func NewFacts(links map[string]Link, dns map[int]DNS, services ...Service) *Facts {
	return &Facts{Services: services, links: links, dns: dns}
}

// Service is a service that answers.
type Service struct {
	Name    string // such as NetworkManager
	Version string // "" if it does not say
}

// Link is what is known about an interface. The zero value means nothing.
type Link struct {
	Metered      Metered      // as NetworkManager says
	Connectivity Connectivity // of IPv4, from NetworkManager's check
	// Connectivity6 is the same for IPv6.
	Connectivity6 Connectivity
	VPN           bool // NetworkManager runs a VPN on it
	Wifi          *Wifi
	Modem         *Modem
	// Online is what systemd-networkd says of the interface: "online", "partial" or
	// "offline"; "" if it says nothing.
	Online string
	// Portal is where users of a captive portal log in, or what programs ask about it,
	// as the network itself has told (RFC 8910); "": it has told nothing. That there is
	// one does not mean that it is closed. PortalSource is the service that knows it.
	Portal, PortalSource string
}

// Wifi is an access point and its reception.
type Wifi struct {
	SSID    string // without bytes that are not text
	BSSID   string // address of the access point
	Signal  int    // percent
	BitRate uint64 // bits per second; 0: unknown
}

// Modem is a modem's connection to its network.
type Modem struct {
	Technology string // the newest in use, such as "LTE"; "" if unknown
	Operator   string
	Signal     int // percent; negative: unknown
	Roaming    bool
}

// DNS is what systemd-resolved, or else systemd-networkd, knows about the name servers
// of an interface.
type DNS struct {
	Source string // the service
	// Servers are the name servers. A zone is given as a number.
	Servers []netip.AddrPort
	// Domains are the domains that the servers are for. They are in lower case, without
	// the final dot. The root is not among them.
	Domains []Domain
	// Root tells that the root is one of the domains. The servers are then for all names
	// that are in no other interface's domain, whatever else is set.
	Root bool
	// DefaultRoute tells that the servers are also for names outside of all domains. It
	// is set if Root is.
	DefaultRoute bool
	// TLS tells that the servers must be asked over TLS.
	TLS bool
}

// Root is the name of the domain that contains all names.
const Root = "."

// Domain is a domain of an interface.
type Domain struct {
	Name string // Root only in a Route
	// RouteOnly tells that the domain does not complete short names.
	RouteOnly bool
}

// Metered says whether traffic costs by the amount, in the words of NetworkManager
// (NMMetered).
type Metered uint8

// The values of Metered.
const (
	MeteredUnknown Metered = iota
	MeteredYes
	MeteredNo
	MeteredGuessYes
	MeteredGuessNo
)

func (m Metered) String() string {
	switch m {
	case MeteredUnknown:
	case MeteredYes:
		return "yes"
	case MeteredNo:
		return "no"
	case MeteredGuessYes:
		return "yes (guessed)"
	case MeteredGuessNo:
		return "no (guessed)"
	}
	return "unknown"
}

// Connectivity says how far connections get, in the words of NetworkManager
// (NMConnectivityState).
type Connectivity uint8

// The values of Connectivity.
const (
	ConnectivityUnknown Connectivity = iota
	ConnectivityNone
	ConnectivityPortal
	ConnectivityLimited
	ConnectivityFull
)

func (c Connectivity) String() string {
	switch c {
	case ConnectivityUnknown:
	case ConnectivityNone:
		return "none"
	case ConnectivityPortal:
		return "portal"
	case ConnectivityLimited:
		return "limited"
	case ConnectivityFull:
		return "full"
	}
	return "unknown"
}

// doubt says why the network may not be usable, "" if nothing speaks against it. portal
// is where its users log in, if that is known.
func (c Connectivity) doubt(portal string) string {
	switch c {
	case ConnectivityPortal:
		if portal != "" {
			portal = " at " + portal
		}
		return "a portal wants its users to log in" + portal + " (" + NetworkManager + ")"
	case ConnectivityLimited:
		return "the Internet is not reached (" + NetworkManager + ")"
	case ConnectivityUnknown, ConnectivityNone, ConnectivityFull:
	}
	return ""
}

// Link returns what is known of the interface with that name.
func (f *Facts) Link(name string) Link {
	if f == nil {
		return Link{}
	}
	return f.links[name]
}

// DNS returns what is known about the name servers of an interface, or the zero value.
func (f *Facts) DNS(index int) DNS {
	if f == nil {
		return DNS{}
	}
	return f.dns[index]
}

// Cost returns what traffic over the interface costs, and the source of that. It
// returns Free and "" if no service says that traffic costs something.
func (l *Link) Cost() (cost policy.Cost, source string) {
	switch {
	case l.Modem != nil && l.Modem.Roaming:
		return policy.Expensive, ModemManager
	case l.Metered == MeteredYes || l.Metered == MeteredGuessYes:
		return policy.Metered, NetworkManager
	}
	return policy.Free, ""
}

// Doubt says why connections of a family may not get far, "" if nothing speaks against
// them.
func (l *Link) Doubt(f policy.Family) string {
	return l.connectivity(f).doubt(l.Portal)
}

func (l *Link) connectivity(f policy.Family) Connectivity {
	if f == policy.IPv6 {
		return l.Connectivity6
	}
	return l.Connectivity
}

// Announced says that the network has told of a portal; "" if it has not, or if
// connections of that family are known to get far.
func (l *Link) Announced(f policy.Family) string {
	if l.Portal == "" || l.connectivity(f) == ConnectivityFull {
		return ""
	}
	return "the network tells of a portal at " + l.Portal + " (" + l.PortalSource + ")"
}

// Fact is one statement of a service, for people.
type Fact struct {
	Name, Value string
	Source      string
	Measured    bool // it is a figure that changes all the time
}

// Facts lists the statements that concern a family, in a fixed order.
func (l *Link) Facts(f policy.Family) []Fact {
	var list []Fact
	add := func(source, name, format string, args ...any) {
		list = append(list, Fact{Name: name, Value: fmt.Sprintf(format, args...), Source: source})
	}
	measure := func(source, name, format string, args ...any) {
		add(source, name, format, args...)
		list[len(list)-1].Measured = true
	}
	if l.Metered != MeteredUnknown {
		add(NetworkManager, "metered", "%v", l.Metered)
	}
	if c := l.connectivity(f); c != ConnectivityUnknown {
		add(NetworkManager, "connectivity", "%v", c)
	}
	if l.Online != "" {
		add(Networkd, "state", "%s", l.Online)
	}
	if l.Portal != "" {
		add(l.PortalSource, "portal", "%s", l.Portal)
	}
	if l.VPN {
		add(NetworkManager, "vpn", "yes")
	}
	if w := l.Wifi; w != nil {
		if w.SSID != "" {
			add(NetworkManager, "wifi", "%s", w.SSID)
		}
		if w.BSSID != "" {
			add(NetworkManager, "access point", "%s", w.BSSID)
		}
		measure(NetworkManager, "signal", "%d %%", w.Signal)
		if w.BitRate > 0 {
			measure(NetworkManager, "bit rate", "%.4g Mbit/s", float64(w.BitRate)/1e6)
		}
	}
	if m := l.Modem; m != nil {
		if m.Technology != "" {
			add(ModemManager, "technology", "%s", m.Technology)
		}
		if m.Operator != "" {
			add(ModemManager, "operator", "%s", m.Operator)
		}
		if m.Signal >= 0 {
			measure(ModemManager, "signal", "%d %%", m.Signal)
		}
		roaming := "no"
		if m.Roaming {
			roaming = "yes"
		}
		add(ModemManager, "roaming", "%s", roaming)
	}
	return list
}

// Labels returns the number of the domain's labels. If several domains cover a name,
// the one with the most labels counts.
func (d Domain) Labels() int {
	if d.Name == Root {
		return 0
	}
	return 1 + strings.Count(d.Name, ".")
}

// Covers tells whether a host name, given without the final dot, lies in the domain.
func (d Domain) Covers(host string) bool {
	if d.Name == Root {
		return true
	}
	rest, ok := cutSuffixFold(host, d.Name)
	return ok && (rest == "" || strings.HasSuffix(rest, "."))
}

func cutSuffixFold(s, suffix string) (string, bool) {
	if n := len(s) - len(suffix); n >= 0 && suffix != "" && strings.EqualFold(s[n:], suffix) {
		return s[:n], true
	}
	return s, false
}

func (l Link) equal(o Link) bool {
	return l.Metered == o.Metered && l.Connectivity == o.Connectivity && l.Connectivity6 == o.Connectivity6 && l.VPN == o.VPN &&
		l.Online == o.Online && l.Portal == o.Portal && l.PortalSource == o.PortalSource &&
		same(l.Wifi, o.Wifi) && same(l.Modem, o.Modem)
}

func same[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func (d DNS) equal(o DNS) bool {
	return d.Source == o.Source && slices.Equal(d.Servers, o.Servers) && slices.Equal(d.Domains, o.Domains) && d.Root == o.Root && d.DefaultRoute == o.DefaultRoute && d.TLS == o.TLS
}

// Alike tells whether two Facts agree in everything that decisions depend on. Either
// may be nil.
func (f *Facts) Alike(o *Facts) bool {
	if f == o {
		return true
	}
	a, b := f.orNone(), o.orNone()
	for name := range a.links {
		if !decides(a.Link(name), b.Link(name)) {
			return false
		}
	}
	for name := range b.links {
		if !decides(a.Link(name), b.Link(name)) {
			return false
		}
	}
	return maps.EqualFunc(a.dns, b.dns, DNS.equal)
}

func (f *Facts) orNone() *Facts {
	if f == nil {
		return &Facts{}
	}
	return f
}

// Attachment names what the interface is attached to, by what does not change as long as
// it is: the access point, or the modem's operator. "" if nobody says.
func (l *Link) Attachment() string {
	switch {
	case l.Wifi != nil && l.Wifi.BSSID != "":
		return "wifi " + l.Wifi.BSSID + " " + l.Wifi.SSID
	case l.Modem != nil && l.Modem.Operator != "":
		return "modem " + l.Modem.Operator
	}
	return ""
}

// decides tells whether two Links lead to the same decisions.
func decides(a, b Link) bool {
	costA, _ := a.Cost()
	costB, _ := b.Cost()
	for _, f := range []policy.Family{policy.IPv4, policy.IPv6} {
		if a.Doubt(f) != b.Doubt(f) || a.Announced(f) != b.Announced(f) {
			return false
		}
	}
	return costA == costB && a.Attachment() == b.Attachment()
}
