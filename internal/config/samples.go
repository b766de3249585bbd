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
	Default   bool // it has the preferred default route
}

// Init returns a file for users to begin with. It has a block for each of the networks
// found. Without networks it is Minimal.
func Init(found []Network) string {
	if len(found) == 0 {
		return Minimal
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# The policy decides which network a connection uses.\npolicy %q {\n}\n\n", DefaultPolicy)
	b.WriteString("# The networks it may choose from, as found on this host, by interface: their\n" +
		"# addresses may change. prefix \"192.0.2.0/24\" { ... } names one of several networks of\n" +
		"# an interface.\n")
	var names []string
	prefixes := map[string][]string{}
	var byDefault string // for families without a default, the host's routes decide
	for _, n := range found {
		if prefixes[n.Interface] == nil {
			names = append(names, n.Interface)
		}
		prefixes[n.Interface] = append(prefixes[n.Interface], n.Prefix.Masked().String())
		if n.Default && byDefault == "" {
			byDefault = n.Interface
		}
	}
	for _, name := range names {
		fmt.Fprintf(&b, "interface %s { # %s\n", quote(EscapePattern(name)), strings.Join(prefixes[name], ", "))
		if name == byDefault {
			b.WriteString("  default = true\n")
		}
		b.WriteString("  # nameserver = [\"192.0.2.1\"]   # what this network's resolver is\n")
		b.WriteString("  # cost       = \"metered\"         # free, metered or expensive\n}\n")
	}
	return b.String()
}

// EscapePattern makes a pattern for an interface block that matches exactly one
// interface, whose name may contain almost any byte.
func EscapePattern(name string) string {
	var b strings.Builder
	for _, r := range name {
		if isGlob(string(r)) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
