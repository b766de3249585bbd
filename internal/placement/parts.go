package placement

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/config"
)

// Part states intents for some of a program's connections: those to certain ports, to a
// network, or by a command.
type Part struct {
	Low, High uint16       // the ports meant; 0, 0: it is not about ports
	Network   netip.Prefix // of the destination; invalid: it is not about networks
	Command   string       // name of the process that connects; "": it is not about commands
	Intents   intent.Set
}

// ParsePart reads PORT=INTENTS, LOW-HIGH=INTENTS, NETWORK=INTENTS or
// COMMAND=INTENTS, such as "443=category=query", "192.0.2.0/24=filesize=3M" or
// "rsync=category=bulktransfer".
func ParsePart(text string) (Part, error) {
	what, intents, ok := strings.Cut(text, "=")
	if !ok || what == "" || intents == "" {
		return Part{}, fmt.Errorf("%q must be PORT=INTENTS, NETWORK=INTENTS or COMMAND=INTENTS, such as \"443=category=query\"", text)
	}
	set, err := intent.Parse(intents)
	if err != nil {
		return Part{}, fmt.Errorf("%q: %w", text, err)
	}
	p := Part{Intents: set}
	if network, err := netip.ParsePrefix(what); err == nil {
		p.Network = network.Masked()
		return p, nil
	}
	if a, err := netip.ParseAddr(what); err == nil && a.Zone() == "" {
		p.Network = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
		return p, nil
	}
	if strings.Trim(what, "0123456789-") == "" {
		ports, err := config.ParsePorts(what)
		if err != nil || ports.Low == 0 {
			return Part{}, fmt.Errorf("%q: %q is neither a port nor a range of ports", text, what)
		}
		p.Low, p.High = ports.Low, ports.High
		return p, nil
	}
	if strings.ContainsAny(what, "/") {
		return Part{}, fmt.Errorf("%q: %q is neither a network nor the name of a command", text, what)
	}
	p.Command = what
	return p, nil
}

// matches tells whether the part is about a connection.
func (p *Part) matches(dest netip.AddrPort, command string) bool {
	switch {
	case p.High != 0:
		return p.Low <= dest.Port() && dest.Port() <= p.High
	case p.Network.IsValid():
		return p.Network.Contains(dest.Addr())
	}
	// The kernel keeps only 15 bytes of a name (prctl(2), PR_SET_NAME).
	return p.Command != "" && command != "" && p.Command[:min(len(p.Command), 15)] == command
}

// part returns the first part that is about a connection, nil if there is none.
func (o *Options) part(dest netip.AddrPort, command string) *Part {
	for i := range o.Parts {
		if o.Parts[i].matches(dest, command) {
			return &o.Parts[i]
		}
	}
	return nil
}
