package doctor

import (
	"fmt"
	"strings"

	"github.com/socket-intents/mamma/internal/display"
)

// step is a command and the one that takes its effect back.
type step struct{ do, undo string }

// inTurn makes one command of steps: each is run if those before it have worked, and
// if one fails those before it are taken back. What was there before stays, so that
// nothing happens if the command is run again.
func inTurn(steps []step) string {
	first := steps[0]
	if len(steps) == 1 {
		return first.do
	}
	return fmt.Sprintf("%s && { %s || { %s; false; }; }", first.do, inTurn(steps[1:]), first.undo)
}

// tableMain is the number of the table of that name (rtnetlink(7)).
const tableMain = 254

// bypass is how what is sent from a prefix's address is led to its own default
// route: a table with that route, and rules. Those come directly before the rule that
// leads it elsewhere, hence behind whatever else somebody wants to be done or
// refused, such as a rule that prohibits.
type bypass struct {
	p        *Prefix
	table    int
	priority int
	// suppress is the length of the prefixes of table main which are passed over, as they
	// lead elsewhere; longer ones hold, so that neighbours stay neighbours.
	suppress int
}

func (b *bypass) route() string { return "default " + hop(b.p) + " table " + fmt.Sprint(b.table) }

// link is the route to the neighbours, "" where table main has it.
func (b *bypass) link() string {
	if n := b.p.ID.Prefix; n.Bits() <= b.suppress && !n.IsSingleIP() {
		return fmt.Sprintf("%s dev %s table %d", n.Masked(), dev(b.p), b.table)
	}
	return ""
}

func (b *bypass) rules() []string {
	from := fmt.Sprintf("priority %d from %s", b.priority, b.p.Addr)
	return []string{fmt.Sprintf("%s lookup main suppress_prefixlength %d", from, b.suppress), fmt.Sprintf("%s lookup %d", from, b.table)}
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

// hop is where a default route of a prefix leads to, for ip-route(8).
func hop(p *Prefix) string {
	g := p.Gateway
	if !g.IsValid() {
		return "dev " + dev(p)
	}
	via := "via "
	if g.Is6() && p.Addr.Is4() {
		via = "via inet6 " // ip takes the family of the route from its gateway otherwise
	}
	text := via + g.WithZone("").String() + " dev " + dev(p)
	if onlink(p) {
		text += " onlink"
	}
	return text
}

// onlink tells that the kernel must be told that the gateway is a neighbour, as no
// prefix of the interface says so.
func onlink(p *Prefix) bool {
	return p.Gateway.IsValid() && !p.Gateway.IsLinkLocalUnicast() && !p.ID.Prefix.Contains(p.Gateway)
}

// sysctl is a command that sets a parameter, and one that makes that last.
func sysctl(key, value string) (set, last string) {
	word := display.ShellQuote(key) + "=" + value
	return "sysctl -w " + word, "echo " + word + " >> /etc/sysctl.d/90-mamma.conf"
}

// filterKey is that of an interface's reverse path filter. A slash stands for a dot
// in its name (sysctl(8)).
func filterKey(iface string) string {
	return "net.ipv4.conf." + strings.ReplaceAll(iface, ".", "/") + ".rp_filter"
}
