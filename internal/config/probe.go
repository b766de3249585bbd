package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// ProbeTarget is what a probe asks. The zero value stands for the network's own
// name servers; networks that have none are not probed then.
type ProbeTarget struct {
	// TCP is an address that is connected to, and nothing sent.
	TCP netip.AddrPort
	// HTTP is a URL that must answer with status 204 (no content): anything
	// else is a portal that wants the user to log in.
	HTTP string
}

func (t ProbeTarget) String() string {
	switch {
	case t.TCP.IsValid():
		return "tcp://" + t.TCP.String()
	case t.HTTP != "":
		return t.HTTP
	}
	return "dns"
}

func parseProbeTarget(text string) (ProbeTarget, error) {
	wrong := fmt.Errorf("must be \"dns\", an address such as \"tcp://192.0.2.1:443\", or an http:// URL that answers with status 204, not %q", text)
	if text == "dns" {
		return ProbeTarget{}, nil
	}
	if rest, ok := strings.CutPrefix(text, "tcp://"); ok {
		a, err := netip.ParseAddrPort(rest)
		if err != nil || a.Port() == 0 || a.Addr().IsUnspecified() || a.Addr().IsMulticast() {
			return ProbeTarget{}, wrong
		}
		return ProbeTarget{TCP: a}, nil
	}
	u, err := url.Parse(text)
	// Without encryption on purpose: a portal cannot answer in another's name,
	// and must not be able to make the network look broken instead.
	if err != nil || u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || strings.ContainsAny(text, " \x00\r\n") {
		return ProbeTarget{}, wrong
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return ProbeTarget{}, wrong
		}
	}
	return ProbeTarget{HTTP: text}, nil
}
