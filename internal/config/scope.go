package config

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
)

// Bounds of scopes.
const (
	// MaxScopes is far more than anybody writes, and keeps what the kernel is told of them
	// within its maps.
	MaxScopes = 100
	// maxPatterns bounds the list of one setting.
	maxPatterns = 32
	// maxCommand is as long as the kernel keeps the name of a thread (proc_pid_comm(5)).
	maxCommand = 15
)

// Placing is about all scopes.
type Placing struct {
	// Root is the control group below which scopes are looked for; "" is the whole tree.
	Root string
	// Pins is the directory of a BPF file system where what is attached is kept for the
	// next run; "" is the default one, Off is nowhere.
	Pins string
	// Keep leaves what is attached to the kernel when the daemon ends.
	Keep bool
	// Measure has the kernel measure TCP connections, besides placing them.
	Measure bool
}

// A Scope says whose connections are placed, though their programs take no part, and how.
type Scope struct {
	Name string
	Pos  Pos
	// Units, Slices and Groups are patterns, as in path.Match, of control groups: by the name
	// of a systemd unit or slice, or by the path from the root. Of each list that is not
	// empty, one has to match the group or one above it.
	Units, Slices, Groups []string
	Users                 []string // names or numbers; empty: all
	Commands              []string // of threads; empty: all
	Intents               intent.Set
	// Rules state intents for some of the connections, in the order written. If several
	// state the same intent, the first one counts. They come before Intents.
	Rules []Rule
	// PortIntents guesses the intents of connections to well-known ports for which nothing
	// else states a category.
	PortIntents bool
	// Learning derives intents from how much earlier connections to the same destination
	// have carried, where nothing else but PortIntents states a category.
	Learning bool
	// AvoidMetered keeps networks that cost something for when no other is left.
	AvoidMetered bool
	// MPTCP makes TCP sockets into sockets of Multipath TCP.
	MPTCP bool
	// Wants are which networks the scope is to have, in the order written within each
	// degree.
	Wants []Want
}

// Want is how much a scope wants some networks (RFC 9622, section 6.2).
type Want struct {
	Degree Degree
	Kind   WantKind
	Name   string // of the interface or network, or a word for a cost
}

// Degree is how much a network is wanted.
type Degree uint8

// The degrees.
const (
	Require Degree = iota
	Prefer
	Avoid
	Prohibit
)

var degrees = []choice[Degree]{{"require", Require}, {"prefer", Prefer}, {"avoid", Avoid}, {"prohibit", Prohibit}}

func (d Degree) String() string { return nameOf(degrees, d) }

// WantKind is what a network is told from others by.
type WantKind uint8

// The kinds.
const (
	ByInterface WantKind = iota
	ByNetwork
	ByCost
)

var wantKinds = []choice[WantKind]{{"interface", ByInterface}, {"network", ByNetwork}, {"cost", ByCost}}

func (k WantKind) String() string { return nameOf(wantKinds, k) }

func (w Want) String() string { return w.Kind.String() + "=" + w.Name }

// Strict tells whether some networks may not be used, so that what cannot be decided must
// not be sent.
func (s *Scope) Strict() bool {
	return slices.ContainsFunc(s.Wants, func(w Want) bool { return w.Degree == Require || w.Degree == Prohibit })
}

// ByGroup tells whether the scope is about some control groups only.
func (s *Scope) ByGroup() bool { return len(s.Units)+len(s.Slices)+len(s.Groups) > 0 }

// scopeSettings are those of scope blocks.
func (h *hclFile) scopeSettings(to *Scope) map[string]setter {
	settings := map[string]setter{
		"unit":          bounded(h, &to.Units, parseUnit, false),
		"slice":         bounded(h, &to.Slices, parseSlice, false),
		"cgroup":        bounded(h, &to.Groups, parseGroupPath, false),
		"user":          bounded(h, &to.Users, parseUser, true),
		"command":       bounded(h, &to.Commands, parseCommand, false),
		"intents":       into(h, &to.Intents, parseIntents),
		"port_intents":  h.boolean(&to.PortIntents),
		"learning":      h.boolean(&to.Learning),
		"avoid_metered": h.boolean(&to.AvoidMetered),
		"mptcp":         h.boolean(&to.MPTCP),
	}
	for _, d := range degrees {
		settings[d.name] = func(a *hclsyntax.Attribute, where string) {
			var list []Want
			bounded(h, &list, parseWant, false)(a, where)
			for _, w := range list {
				w.Degree = d.value
				to.Wants = append(to.Wants, w)
			}
		}
	}
	return settings
}

// bounded is listInto for a list that is not empty, nor long.
func bounded[T any](h *hclFile, to *[]T, parse func(string) (T, error), numbers bool) setter {
	return func(a *hclsyntax.Attribute, where string) {
		before := len(h.errors)
		listInto(h, to, parse, numbers)(a, where)
		switch n := len(*to); {
		case len(h.errors) > before:
		case n == 0:
			h.wrong(a, where, errors.New("must not be an empty list, which would match nothing; leave the setting out if it does not matter"))
		case n > maxPatterns:
			h.wrong(a, where, fmt.Errorf("must be a list of at most %d, not of %d", maxPatterns, n))
		}
	}
}

func (h *hclFile) scope(b *hclsyntax.Block) {
	s := Scope{Name: b.Labels[0], Pos: position(b.LabelRanges[0])}
	if _, err := parseNetworkName(s.Name); err != nil {
		h.errorf(s.Pos, "the name of a scope %v", err)
	}
	h.body(b.Body, fmt.Sprintf("scope %q", s.Name), h.scopeSettings(&s), map[string]blockReader{
		"intents": {label: "name", many: true, read: func(r *hclsyntax.Block) { h.rule(&s, r) }},
	})
	slices.SortStableFunc(s.Wants, func(a, b Want) int { return int(a.Degree) - int(b.Degree) })
	if len(h.c.Scopes) == MaxScopes {
		h.errorf(s.Pos, "there are more than %d scopes", MaxScopes)
	}
	if len(h.c.Scopes) <= MaxScopes {
		h.c.Scopes = append(h.c.Scopes, s)
	}
}

// unitKinds are the units that processes can be in (systemd.unit(5)).
var unitKinds = []string{".service", ".scope", ".socket", ".mount", ".swap", ".slice"}

func parseUnit(text string) (string, error) {
	_, err := path.Match(text, "")
	switch {
	case err != nil || text == "" || strings.ContainsAny(text, "/\x00"):
		return "", fmt.Errorf("must be the name of a unit or a pattern such as \"backup.service\" or \"app-*.scope\", not %q", text)
	case strings.HasSuffix(text, ".slice"):
		return "", fmt.Errorf("is about units in slices: a slice is named by slice = %q", text)
	case !slices.Contains(unitKinds, filepath.Ext(text)) && !strings.HasSuffix(text, "*"):
		return "", fmt.Errorf("must end as units do, as in \"%s.service\", not %q", text, text)
	}
	return text, nil
}

func parseSlice(text string) (string, error) {
	if _, err := path.Match(text, ""); err != nil || strings.ContainsAny(text, "/\x00") || !strings.HasSuffix(text, ".slice") {
		return "", fmt.Errorf("must be the name of a slice or a pattern such as \"user.slice\", not %q", text)
	}
	return text, nil
}

func parseGroupPath(text string) (string, error) {
	if _, err := path.Match(text, ""); err != nil || !strings.HasPrefix(text, "/") || strings.ContainsRune(text, 0) {
		return "", fmt.Errorf("must be the path of a control group from the root of the tree, such as \"/system.slice/docker-*.scope\", not %q", text)
	}
	if clean := path.Clean(text); clean != text {
		return "", fmt.Errorf("must be written as %q, not %q", clean, text)
	}
	return text, nil
}

func parseAbsolute(text string) (string, error) {
	if !filepath.IsAbs(text) {
		return "", fmt.Errorf("must be an absolute path, not %q", text)
	}
	return parsePath(text)
}

// parsePinDir reads the path of a directory, or Off.
func parsePinDir(text string) (string, error) {
	if text == Off {
		return Off, nil
	}
	if !filepath.IsAbs(text) {
		return "", fmt.Errorf("must be %q or the absolute path of a directory, not %q", Off, text)
	}
	return parsePath(text)
}

// parseUser reads the name or the number of a user. Whether there is one is known only
// where the file is used.
func parseUser(text string) (string, error) {
	if text == "" || strings.ContainsAny(text, ":/\x00\n") {
		return "", fmt.Errorf("must be the name or the number of a user, not %q", text)
	}
	return text, nil
}

func parseCommand(text string) (string, error) {
	switch {
	case text == "" || strings.ContainsRune(text, 0):
		return "", fmt.Errorf("must be the name of a command, not %q", text)
	case strings.ContainsRune(text, '/'):
		return "", fmt.Errorf("must be the name of a command as ps -e shows it, without a path: %q", limited(path.Base(text)))
	case len(text) > maxCommand:
		return "", fmt.Errorf("must have at most %d bytes, as the kernel keeps no more of a name: %q", maxCommand, limited(text))
	}
	return text, nil
}

func limited(name string) string { return strings.ToValidUTF8(name[:min(len(name), maxCommand)], "") }

func parseWant(text string) (Want, error) {
	kind, name, ok := strings.Cut(text, "=")
	i := slices.IndexFunc(wantKinds, func(c choice[WantKind]) bool { return c.name == kind })
	if !ok || i < 0 || name == "" {
		return Want{}, fmt.Errorf("must be \"interface=NAME\", \"network=NAME\" or \"cost=WORD\", not %q", text)
	}
	w := Want{Kind: wantKinds[i].value, Name: name}
	switch w.Kind {
	case ByCost:
		if _, err := oneOf(costs)(name); err != nil {
			return w, fmt.Errorf("must name a cost, free, metered or expensive, not %q", name)
		}
	case ByNetwork:
		if _, err := parseNetworkName(name); err != nil {
			return w, fmt.Errorf("must name a network: the name %w", err)
		}
	case ByInterface:
	}
	return w, nil
}

// Selection is a scope's wants as wire.Preference has them, with what AvoidMetered adds.
func (s *Scope) Selection() []Want {
	list := slices.Clone(s.Wants)
	if s.AvoidMetered {
		list = append(list, Want{Avoid, ByCost, policy.Metered.String()}, Want{Avoid, ByCost, policy.Expensive.String()})
	}
	return list
}

func (w *writer) scopes(c *Config) {
	if p := defaults().Placing; c.Placing != p {
		w.open("scopes {")
		w.text("cgroup_root", c.Placing.Root)
		w.text("pin_dir", c.Placing.Pins)
		if c.Placing.Keep {
			w.line("keep = true")
		}
		if c.Placing.Measure != p.Measure {
			w.line("measure = %t", c.Placing.Measure)
		}
		w.line("}")
	}
	for i := range c.Scopes {
		s := &c.Scopes[i]
		w.open("scope %s {", quote(s.Name))
		w.list("unit", s.Units)
		w.list("slice", s.Slices)
		w.list("cgroup", s.Groups)
		w.list("user", s.Users)
		w.list("command", s.Commands)
		if !s.Intents.IsZero() {
			w.text("intents", s.Intents.String())
		}
		if s.PortIntents {
			w.line("port_intents = true")
		}
		if s.Learning {
			w.line("learning = true")
		}
		if s.AvoidMetered {
			w.line("avoid_metered = true")
		}
		if s.MPTCP {
			w.line("mptcp = true")
		}
		for _, d := range degrees {
			var list []string
			for _, x := range s.Wants {
				if x.Degree == d.value {
					list = append(list, x.String())
				}
			}
			w.list(d.name, list)
		}
		for i := range s.Rules {
			w.rule(&s.Rules[i])
		}
		w.line("}")
	}
}
