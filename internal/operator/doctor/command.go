package doctor

import (
	"fmt"
	"strings"

	"github.com/socket-intents/mamma/internal/display"
)

// step is a command with the command that undoes it.
type step struct{ do, undo string }

// inTurn combines steps into one command. Each step runs if all steps before it have
// succeeded. If a step fails, the steps before it are undone. A step fails if its
// effect is already there, so running the command a second time changes nothing.
func inTurn(steps []step) string {
	first := steps[0]
	if len(steps) == 1 {
		return first.do
	}
	return fmt.Sprintf("%s && { %s || { %s; false; }; }", first.do, inTurn(steps[1:]), first.undo)
}

// tableMain is the number of table main (rtnetlink(7)).
const tableMain = 254

// bypass is a table with a prefix's own default route, and rules that lead packets from
// the prefix's address to it. The rules come directly before the rule that leads the
// packets elsewhere. So they come after all other rules that somebody has made, such as
// one that prohibits something.
type bypass struct {
	p        *Prefix
	table    int
	priority int
	// suppress is a prefix length. Routes of table main with this length or less are
	// ignored, because they lead elsewhere. Longer ones, such as the one to the
	// neighbours, still count.
	suppress int
}

func (b *bypass) route() string { return "default " + hop(b.p) + " table " + fmt.Sprint(b.table) }

// link is the route to the neighbours, "" if another table has it that is looked into.
func (b *bypass) link() string {
	if n := b.p.ID.Prefix; (n.Bits() <= b.suppress || b.p.Remote) && !n.IsSingleIP() {
		return fmt.Sprintf("%s dev %s table %d", n.Masked(), dev(b.p), b.table)
	}
	return ""
}

func (b *bypass) rules() []string {
	from := fmt.Sprintf("priority %d from %s", b.priority, b.p.Addr)
	var list []string
	for _, l := range b.lookups() {
		name := fmt.Sprint(l.Table)
		if l.Table == tableMain {
			name = "main"
		}
		list = append(list, fmt.Sprintf("%s lookup %s suppress_prefixlength %d", from, name, l.Suppress))
	}
	return append(list, fmt.Sprintf("%s lookup %d", from, b.table))
}

// lookups are the tables that say something of certain destinations, which stays in force.
func (b *bypass) lookups() []Lookup {
	list := []Lookup{{tableMain, b.suppress}}
	if b.p.Aside.Table != 0 {
		list = append([]Lookup{b.p.Aside}, list...)
	}
	return list
}

func (b *bypass) steps() []step {
	var list []step
	change := func(object, what string) {
		list = append(list, step{ip(b.p) + " " + object + " add " + what, ip(b.p) + " " + object + " del " + what})
	}
	if l := b.link(); l != "" {
		change("route", l)
	}
	change("route", b.route())
	for _, r := range b.rules() {
		change("rule", r)
	}
	return list
}

// hop returns the next hop of a prefix's default route in the words of ip-route(8).
func hop(p *Prefix) string {
	g := p.Gateway
	if !g.IsValid() {
		return "dev " + dev(p)
	}
	via := "via "
	if g.Is6() && p.Addr.Is4() {
		via = "via inet6 " // without it, ip(8) expects a gateway of the route's own family
	}
	text := via + g.WithZone("").String() + " dev " + dev(p)
	if onlink(p) {
		text += " onlink"
	}
	return text
}

// onlink tells whether the route must say that its gateway is a neighbour. That is so
// if no prefix of the interface contains the gateway.
func onlink(p *Prefix) bool {
	return p.Gateway.IsValid() && !p.Gateway.IsLinkLocalUnicast() && !p.ID.Prefix.Contains(p.Gateway)
}

// sysctl returns a command that sets a parameter now, and one that makes it last beyond
// the next start. last is empty if a character of the key, which holds an interface's
// name, may mean something else to echo or to sysctl.d(5), as a backslash and an asterisk
// do.
func sysctl(key, value string) (set, last string) {
	word := display.ShellQuote(key) + "=" + value
	if strings.ContainsFunc(key, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._/:@-", r)
	}) {
		return "sysctl -w " + word, ""
	}
	return "sysctl -w " + word, "echo " + word + " >> /etc/sysctl.d/90-mamma.conf"
}

// filterKey returns the parameter of an interface's reverse path filter. In it, a slash
// stands for a dot in the interface's name (sysctl(8)).
func filterKey(iface string) string {
	return "net.ipv4.conf." + strings.ReplaceAll(iface, ".", "/") + ".rp_filter"
}
