package config

import (
	_ "embed"
	"fmt"
	"net/netip"
	"strings"
)

// Reference is a file that explains every setting, with default and bounds.
//
//go:embed reference.hcl
var Reference string

// Minimal is the shortest useful file.
//
//go:embed minimal.hcl
var Minimal string

// Network is a local prefix found on this host.
type Network struct {
	Interface string
	Prefix    netip.Prefix
	Default   bool // holds the preferred default route
}

// Init gives a file to start from, with a block for each of the networks that
// were found; Minimal if there are none.
func Init(found []Network) string {
	if len(found) == 0 {
		return Minimal
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# The policy decides which network a connection uses.\npolicy %q {\n}\n\n", DefaultPolicy)
	b.WriteString("# The networks it may choose from, as found on this host. Networks that change\n" +
		"# (Wi-Fi, LTE) are better named by interface \"NAME\" { ... }.\n")
	for _, n := range found {
		fmt.Fprintf(&b, "prefix %q { # %s\n", n.Prefix.Masked(), oneLine(n.Interface))
		if n.Default {
			b.WriteString("  default = true\n")
		}
		b.WriteString("  # nameserver = [\"192.0.2.1\"]   # what this network's resolver is\n")
		b.WriteString("  # cost       = \"metered\"         # free, metered or expensive\n}\n")
	}
	return b.String()
}

// oneLine keeps an interface name, which may hold almost any byte, within its
// comment.
func oneLine(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(name, "?"))
}
