package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/socket-intents/mamma/policy"
)

// A choice is one of the words that a setting can have as its value.
type choice[T comparable] struct {
	name  string
	value T
}

var (
	bindDevices  = []choice[BindDevice]{{"auto", BindAuto}, {"always", BindAlways}, {"never", BindNever}}
	logFormats   = []choice[LogFormat]{{"text", LogText}, {"json", LogJSON}}
	pathManagers = []choice[PathManager]{{"off", PathManagerOff}, {"kernel", PathManagerKernel}, {"userspace", PathManagerUserspace}}
	costs        = []choice[policy.Cost]{
		{policy.Free.String(), policy.Free}, {policy.Metered.String(), policy.Metered}, {policy.Expensive.String(), policy.Expensive},
	}
	routings   = []choice[Routing]{{"leave", RoutingLeave}, {"manage", RoutingManage}}
	probeWhens = []choice[ProbeWhen]{{"doubt", ProbeDoubt}, {"always", ProbeAlways}, {"never", ProbeNever}}
	onDowns    = []choice[OnDown]{{"keep", OnDownKeep}, {"reset", OnDownReset}}
	logLevels  = []choice[slog.Level]{
		{"debug", slog.LevelDebug}, {"info", slog.LevelInfo}, {"warn", slog.LevelWarn}, {"error", slog.LevelError},
	}
)

func nameOf[T comparable](choices []choice[T], v T) string {
	for _, c := range choices {
		if c.value == v {
			return c.name
		}
	}
	return "unknown"
}

// oneOf makes a function that reads one of the choices. Errors of functions that read
// values continue after the setting's name: "must be ...".
func oneOf[T comparable](choices []choice[T]) func(string) (T, error) {
	return func(text string) (T, error) {
		names := make([]string, len(choices))
		for i, c := range choices {
			if c.name == text {
				return c.value, nil
			}
			names[i] = fmt.Sprintf("%q", c.name)
		}
		var none T
		last := len(names) - 1
		return none, fmt.Errorf("must be %s or %s, not %q", strings.Join(names[:last], ", "), names[last], text)
	}
}

func parsePath(text string) (string, error) {
	if text == "" || strings.ContainsRune(text, 0) {
		return "", fmt.Errorf("must be a path, not %q", text)
	}
	return text, nil
}

// orOff makes Off stand for no path, as in the original grammar, in the settings that
// the reference calls off by default.
func orOff(parse func(string) (string, error)) func(string) (string, error) {
	return func(text string) (string, error) {
		if text == Off {
			return "", nil
		}
		return parse(text)
	}
}

func parseSocketPath(text string) (string, error) {
	if len(text) > maxSocketPath {
		return "", fmt.Errorf("must be a path of at most %d bytes (unix(7)), not of %d", maxSocketPath, len(text))
	}
	if text != "" && !filepath.IsAbs(text) {
		return "", fmt.Errorf("must be an absolute path, not %q: clients are not started where mamma is", text)
	}
	return parsePath(text)
}

// parseSystemBus reads the path of a socket, Off, or "auto" for the system's bus.
func parseSystemBus(text string) (string, error) {
	switch {
	case text == "auto":
		return "", nil
	case text == Off:
		return Off, nil
	case len(text) > maxSocketPath:
		return "", fmt.Errorf("must be a path of at most %d bytes (unix(7)), not of %d", maxSocketPath, len(text))
	case !filepath.IsAbs(text):
		return "", fmt.Errorf("must be \"auto\", %q or the absolute path of a socket, not %q", Off, text)
	}
	return parsePath(text)
}

func parseListen(text string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("must be an address with port such as \"127.0.0.1:9477\", not %q", text)
	}
	return ap, nil
}

// parseNameserver reads an address with or without port; the port is 53 by
// default (doc/original/daemon.md 11).
func parseNameserver(text string) (netip.AddrPort, error) {
	const dnsPort = 53
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		var a netip.Addr
		if a, err = netip.ParseAddr(text); err == nil {
			ap = netip.AddrPortFrom(a, dnsPort)
		}
	}
	if err != nil || ap.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("must be an address such as \"192.0.2.1\", \"192.0.2.1:5353\" or \"[2001:db8::1]:53\", not %q", text)
	}
	a := ap.Addr().Unmap()
	if a.IsUnspecified() || a.IsMulticast() {
		return netip.AddrPort{}, fmt.Errorf("must be the address of a server, which %s is not", a)
	}
	return netip.AddrPortFrom(a, ap.Port()), nil
}

func parseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.IsMulticast() {
		return netip.Addr{}, fmt.Errorf("must be an address of this host such as \"192.0.2.23\", not %q", text)
	}
	return a.Unmap(), nil
}

// parseFarAway reads a destination that stands in for "everywhere".
func parseFarAway(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	a = a.Unmap()
	if err != nil || a.Zone() != "" || !a.IsGlobalUnicast() {
		return netip.Addr{}, fmt.Errorf("must be a destination such as \"9.9.9.9\", not %q", text)
	}
	return a, nil
}

// parsePrefix reads a network, or an address, which means the local prefix that
// contains it.
func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		hint := ""
		if name, _, _ := strings.Cut(text, "@"); isInterfaceName(name) {
			hint = fmt.Sprintf("; an interface is named by interface %q { ... }", name)
		}
		return netip.Prefix{}, fmt.Errorf("%q is not a network such as \"192.0.2.0/24\" or \"2001:db8::/64\", nor an address%s", text, hint)
	}
	return p, nil
}

// isInterfaceName tells whether a text that is not a network may be the name of an
// interface (dev_valid_name in the kernel), such as eth0.100, or a pattern. A text of
// digits and dots alone is a mistyped address.
func isInterfaceName(text string) bool {
	const longest = 127 // an alternative name (ALTIFNAMSIZ)
	return text != "" && len(text) <= longest && !strings.ContainsAny(text, "/: \t") && strings.Trim(text, "0123456789.") != ""
}

func parsePattern(text string) (string, error) {
	if _, err := path.Match(text, ""); err != nil || text == "" {
		return "", fmt.Errorf("%q is not an interface name or pattern such as \"eth0\" or \"wwan*\"", text)
	}
	if _, err := netip.ParsePrefix(text); err == nil { // names of interfaces never contain a slash
		return "", fmt.Errorf("%q is a network, which is named by prefix %q { ... }", text, text)
	}
	return text, nil
}

// maxNetworkName is the length of a label of a host name (RFC 1035 section 2.3.4),
// which also fits a column of output.
const maxNetworkName = 63

// parseNetworkName reads the name of a network. Only characters are permitted that need
// no quotes in a shell, in a rule or in a list.
func parseNetworkName(text string) (string, error) {
	good := func(r rune) bool {
		return r == '-' || r == '_' || r == '.' || unicode.IsLetter(r) || unicode.IsDigit(r)
	}
	switch bad := strings.IndexFunc(text, func(r rune) bool { return !good(r) }); {
	case text == "", text[0] == '-', text[0] == '.':
		return "", fmt.Errorf("must be a name such as \"home\", not %q", text)
	case bad >= 0 || !utf8.ValidString(text):
		return "", fmt.Errorf("must have letters, digits, \"-\", \"_\" and \".\" only, not %q", text)
	case len(text) > maxNetworkName:
		return "", fmt.Errorf("must have at most %d bytes, not %d", maxNetworkName, len(text))
	}
	return text, nil
}

func parseName(text string) (string, error) {
	if text == "" {
		return "", errors.New("must not be empty")
	}
	return text, nil
}

// lastOfEach removes settings that a later one with the same name replaces.
func lastOfEach(settings []policy.Setting) []policy.Setting {
	last := map[string]int{}
	for i, s := range settings {
		last[s.Name] = i
	}
	var kept []policy.Setting
	for i, s := range settings {
		if last[s.Name] == i {
			kept = append(kept, s)
		}
	}
	return kept
}
