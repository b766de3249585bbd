package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// ProbeTarget says what a probe asks. The zero value means the network's own name
// servers; a network without name servers is then not probed.
type ProbeTarget struct {
	// TCP is an address to connect to. Nothing is sent.
	TCP netip.AddrPort
	// HTTP is a URL that must answer with status 204 (no content). Any other answer
	// comes from a portal that wants the user to log in.
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
	// The URL must not be encrypted. A portal cannot answer for an encrypted page, so
	// the network would look broken instead.
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
