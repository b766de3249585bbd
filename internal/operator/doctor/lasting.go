package doctor

import (
	"fmt"
	"strings"

	"github.com/socket-intents/mamma/internal/display"
)

// Manager is the program that configures an interface.
type Manager struct {
	Kind ManagerKind
	// Profile is the manager's name for the interface's settings: for systemd-networkd
	// the name of a file without its folder, for NetworkManager the UUID of a
	// connection.
	Profile string
}

// ManagerKind is a program that configures interfaces.
type ManagerKind uint8

// The programs.
const (
	NoManager ManagerKind = iota // none that is known
	Networkd
	NetworkManager
	Ifupdown
)

// last says how to make the manager add the routes and rules whenever it configures the
// interface.
func (b *bypass) last() string {
	p := b.p
	switch p.Manager.Kind {
	case Networkd:
		var s strings.Builder
		if b.link() != "" {
			fmt.Fprintf(&s, "[Route]\nDestination=%s\nScope=link\nTable=%d\n", p.ID.Prefix.Masked(), b.table)
		}
		fmt.Fprintf(&s, "%sTable=%d\n", networkdRoute(p), b.table)
		for _, l := range b.lookups() {
			fmt.Fprintf(&s, "[RoutingPolicyRule]\nFrom=%s\nTable=%d\nSuppressPrefixLength=%d\nPriority=%d\n", p.Addr, l.Table, l.Suppress, b.priority)
		}
		fmt.Fprintf(&s, "[RoutingPolicyRule]\nFrom=%s\nTable=%d\nPriority=%d\n", p.Addr, b.table, b.priority)
		return networkd(p, s.String())
	case NetworkManager:
		routes, rules := nmFamily(p)+".routes", nmFamily(p)+".routing-rules"
		var words []string
		if b.link() != "" {
			words = append(words, "+"+routes, fmt.Sprintf("%s table=%d", p.ID.Prefix.Masked(), b.table))
		}
		words = append(words, "+"+routes, fmt.Sprintf("%s table=%d", nmRoute(p), b.table))
		for _, l := range b.lookups() {
			words = append(words, "+"+rules, fmt.Sprintf("priority %d from %s table %d suppress_prefixlength %d", b.priority, p.Addr, l.Table, l.Suppress))
		}
		words = append(words, "+"+rules, fmt.Sprintf("priority %d from %s table %d", b.priority, p.Addr, b.table))
		return nmcli(p, words)
	case Ifupdown:
		return ifupdown(p, b.steps())
	case NoManager:
	}
	return unmanaged(p.ID.Interface)
}

// lastDefault says how to make the manager add a default route to table main.
func lastDefault(p *Prefix, metric int) string {
	switch p.Manager.Kind {
	case Networkd:
		return networkd(p, fmt.Sprintf("%sMetric=%d\n", networkdRoute(p), metric))
	case NetworkManager:
		return nmcli(p, []string{"+" + nmFamily(p) + ".routes", fmt.Sprintf("%s %d", nmRoute(p), metric)})
	case Ifupdown:
		what := fmt.Sprintf("default %s metric %d", hop(p), metric)
		return ifupdown(p, []step{{ip(p) + " route add " + what, ip(p) + " route del " + what}})
	case NoManager:
	}
	return unmanaged(p.ID.Interface)
}

// lastMetricOf says how the default route of a prefix gets its metric each time. A route that
// a file of systemd-networkd names has its metric there, which a drop-in file cannot change.
func lastMetricOf(p *Prefix, metric int) string {
	switch p.Manager.Kind {
	case Networkd:
		return networkd(p, fmt.Sprintf("[DHCPv4]\nRouteMetric=%d\n", metric)) +
			fmt.Sprintf("or, if a section [Route] names the route, Metric=%d in that section\n", metric)
	case NetworkManager:
		return nmcli(p, []string{nmFamily(p) + ".route-metric", fmt.Sprint(metric)})
	case Ifupdown, NoManager:
	}
	return "give the route this metric where it is made, such as in /etc/network/interfaces"
}

func unmanaged(iface string) string {
	return "let whatever switches " + iface + " on run this command, or a unit of systemd (no program is known that configures the interface)"
}

func networkd(p *Prefix, text string) string {
	return "in " + display.ShellQuote("/etc/systemd/network/"+p.Manager.Profile+".d/mamma.conf") + ", then networkctl reload:\n" + text
}

// networkdRoute returns the section of a default route, without its table
// (systemd.network(5)).
func networkdRoute(p *Prefix) string {
	if !p.Gateway.IsValid() {
		return "[Route]\nDestination=" + everywhere(p) + "\nScope=link\n"
	}
	s := "[Route]\nDestination=" + everywhere(p) + "\nGateway=" + p.Gateway.WithZone("").String() + "\n"
	if onlink(p) {
		s += "GatewayOnLink=yes\n"
	}
	return s
}

func nmFamily(p *Prefix) string {
	if p.Addr.Is6() {
		return "ipv6"
	}
	return "ipv4"
}

// nmRoute returns a default route in the form of nm-settings-nmcli(5). The metric and
// attributes come after it.
func nmRoute(p *Prefix) string {
	s := everywhere(p)
	if p.Gateway.IsValid() {
		s += " " + p.Gateway.WithZone("").String()
	}
	return s
}

// nmcli returns a command that changes the connection. The change has effect when the
// connection is next activated.
func nmcli(p *Prefix, words []string) string {
	for i, w := range words {
		if onlink(p) && strings.HasPrefix(w, nmRoute(p)) {
			w += " onlink=true"
		}
		words[i] = display.ShellQuote(w)
	}
	return "nmcli connection modify " + display.ShellQuote(p.Manager.Profile) + " " + strings.Join(words, " ")
}

// ifupdown returns lines for the interface's stanza (interfaces(5)).
func ifupdown(p *Prefix, steps []step) string {
	family := "inet"
	if p.Addr.Is6() {
		family = "inet6"
	}
	var s strings.Builder
	fmt.Fprintf(&s, "in /etc/network/interfaces, below iface %s %s:\n", display.ShellQuote(p.ID.Interface), family)
	for _, x := range steps {
		s.WriteString("up " + x.do + "\n")
	}
	for i := len(steps) - 1; i >= 0; i-- {
		s.WriteString("down " + steps[i].undo + " || true\n")
	}
	return s.String()
}

// lastUp says how to switch an interface on at each start of the host.
func lastUp(iface string, m Manager) string {
	switch m.Kind {
	case Networkd:
		return "in " + display.ShellQuote("/etc/systemd/network/"+m.Profile+".d/mamma.conf") + ", then networkctl reload:\n[Link]\nActivationPolicy=up\n"
	case NetworkManager:
		return "nmcli connection modify " + display.ShellQuote(m.Profile) + " connection.autoconnect yes"
	case Ifupdown:
		return "in /etc/network/interfaces:\nauto " + display.ShellQuote(iface) + "\n"
	case NoManager:
	}
	return unmanaged(iface)
}
