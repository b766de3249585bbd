package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/habits"
	"github.com/socket-intents/mamma/internal/rules"
)

// settings are the settings of the configuration file.
type settings struct {
	listen  []string
	socket  string // the Multi Access Manager's; "": where clients look
	metrics string // "" for none
	users   string // password file; "" for none
	known   *users // what it says; nil for none
	header  string // that carries intents in HTTP requests
	via     string // name in plain HTTP messages; "" for none
	names   bool   // ask clients for a name

	logLevel, logFormat string
	logAccess           bool

	conns, perClient                                     int
	handshake, connect, idle, halfClosed, udpIdle, drain time.Duration
	bind, udp                                            bool

	rules       []rule
	intents     []rules.Intents
	portIntents bool
	identify    bool // find out the process of each client
	learning    habits.Settings

	relative []string // warnings about paths of the file, which flags may replace
}

// rule allows or denies what it matches.
type rule struct {
	name  string
	at    config.Pos
	allow bool
	match rules.Match
}

// defaultHeader carries the intents of an HTTP request.
const defaultHeader = "Socket-Intents"

func defaults() *settings {
	return &settings{
		listen: []string{"127.0.0.1:9050", "[::1]:9050"}, // the original's port
		header: defaultHeader, names: true, logLevel: "info", logFormat: "text", logAccess: true,
		conns: 10_000, perClient: 1_000,
		handshake: 10 * time.Second, connect: 30 * time.Second, idle: 124 * time.Minute, halfClosed: 4 * time.Minute, udpIdle: 5 * time.Minute, drain: 30 * time.Second,
		udp: true, portIntents: true,
		learning: habits.Defaults(),
	}
}

// loadConfig reads the file at path. If path is "", it returns the defaults.
func loadConfig(ctx context.Context, path string) (*settings, error) {
	c := defaults()
	if path == "" {
		return c, nil
	}
	if err := config.LoadFile(ctx, path, func(b *config.Body) { c.describe(b); c.readUsers(b) }); err != nil {
		return nil, err
	}
	for _, of := range []struct{ setting, path string }{{"socket", c.socket}, {"users", c.users}, {"file in learning", c.learning.File}} {
		if w := config.RelativePath(of.setting, of.path); w != "" {
			c.relative = append(c.relative, w)
		}
	}
	return c, nil
}

// To add a setting, add it here, to settings and to reference.hcl.
func (c *settings) describe(b *config.Body) {
	config.Texts(b, "listen", &c.listen, parseListen)
	b.After(func() {
		for i, l := range c.listen {
			if slices.Contains(c.listen[:i], l) {
				b.Errorf(b.Place("listen"), "listen has %q twice", l)
				return
			}
		}
	})
	config.Text(b, "socket", &c.socket, notEmpty)
	config.Text(b, "users", &c.users, notEmpty)
	config.Text(b, "header", &c.header, parseHeader)
	config.Text(b, "via", &c.via, parseHeader)
	b.Bool("ask_names", &c.names)
	b.Bool("port_intents", &c.portIntents)
	b.Bool("identify", &c.identify)
	b.Group("log", func(b *config.Body) {
		config.Text(b, "level", &c.logLevel, config.OneOf("debug", "info", "warn", "error"))
		config.Text(b, "format", &c.logFormat, config.OneOf("text", "json"))
		b.Bool("access", &c.logAccess)
	})
	b.Group("metrics", func(b *config.Body) { config.Text(b, "listen", &c.metrics, parseListen) })
	b.Group("commands", func(b *config.Body) {
		b.Bool("bind", &c.bind)
		b.Bool("udp", &c.udp)
	})
	b.Group("limits", func(b *config.Body) {
		b.Int("connections", &c.conns, 1, 1_000_000)
		b.Int("per_client", &c.perClient, 1, 1_000_000)
	})
	b.Group("timeouts", func(b *config.Body) {
		b.Duration("handshake", &c.handshake)
		b.Duration("connect", &c.connect)
		b.Duration("idle", &c.idle)
		b.Duration("half_closed", &c.halfClosed)
		b.Duration("udp", &c.udpIdle)
		b.Duration("drain", &c.drain)
	})
	b.Group("learning", c.learning.Describe)
	b.Named("rule", "name", c.describeRule)
	b.After(func() {
		for i := range c.rules {
			if r := &c.rules[i]; len(r.match.Users) > 0 && !b.Given("users") {
				b.Errorf(r.at, "rule %q goes by user, and without \"users\", the file with passwords, nobody checks the names that clients give", r.name)
			}
		}
	})
	rules.DescribeIntents(b, &c.intents, (*rules.Match).DescribeClient)
}

// readUsers reads the password file that the configuration names.
func (c *settings) readUsers(b *config.Body) {
	b.After(func() {
		if c.users == "" {
			return
		}
		var err error
		if c.known, err = loadUsers(c.users); err != nil {
			b.Errorf(b.Place("users"), "users: %v", err)
		}
	})
}

func (c *settings) describeRule(name string, at config.Pos, b *config.Body) {
	r := rule{name: name, at: at}
	action := ""
	config.Text(b, "action", &action, config.OneOf("allow", "deny"))
	r.match.DescribeClient(b)
	b.Elsewhere(rules.StatedElsewhere)
	b.After(func() {
		if !b.Given("action") {
			b.Errorf(at, "rule %q has no action: action = \"allow\" or \"deny\"", name)
		}
		r.allow = action == "allow"
		c.rules = append(c.rules, r)
	})
}

func notEmpty(text string) (string, error) {
	if text == "" {
		return "", fmt.Errorf("must not be empty")
	}
	return text, nil
}

func parseListen(text string) (string, error) {
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		return "", fmt.Errorf("must be an address with port such as \"127.0.0.1:9050\" or \"[::1]:9050\", not %q", text)
	}
	return ap.String(), nil
}

func parseHeader(text string) (string, error) {
	for _, r := range text {
		if r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return "", fmt.Errorf("must be the name of a header such as %q, not %q", defaultHeader, text)
		}
	}
	return notEmpty(text)
}

// open lists the listeners that other hosts can reach.
func (c *settings) open() []string {
	var list []string
	for _, l := range c.listen {
		host, _, err := net.SplitHostPort(l)
		if err != nil {
			continue
		}
		if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
			list = append(list, l)
		}
	}
	return list
}

// warnings tells of settings that are valid but may not be what the operator meant.
func (c *settings) warnings() (warnings []string) {
	warnings = slices.Clone(c.relative)
	open := c.open()
	switch {
	case len(open) == 0:
	case c.users != "":
		warnings = append(warnings, fmt.Sprintf("passwords cross the network unencrypted, at %s", strings.Join(open, ", ")))
	case !slices.ContainsFunc(c.rules, func(r rule) bool { return r.allow }):
		warnings = append(warnings, fmt.Sprintf("others than this host can reach the proxy at %s, but neither a rule nor a password lets them in", strings.Join(open, ", ")))
	}
	return warnings
}
