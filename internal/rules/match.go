package rules

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/socket-intents/mamma/internal/config"
)

// Match says what a rule applies to. For each kind that has entries, one entry must
// fit. The zero value applies to everything.
type Match struct {
	Clients      []netip.Prefix // networks of a proxy's clients
	Destinations []Destination
	Ports        []config.PortRange // of the destination
	Users        []string           // names that a proxy's clients give
	UIDs         []uint32           // user ids of programs on this host
	Processes    []string           // their executables: full paths, or last parts
}

// Destination is a network, or a pattern for names (path.Match).
type Destination struct {
	Network netip.Prefix
	Pattern string // in lower case, without the last dot; "" if a network is meant
}

// A Verdict tells whether something matches. Greater values are weaker statements.
type Verdict int

// The verdicts.
const (
	No      Verdict = iota
	Maybe           // it depends on the address, which is unknown so far
	Unknown         // it depends on who asks, which cannot be found out
	Yes
)

// Subject is a connection that rules are applied to.
type Subject struct {
	Client netip.Addr     // address of the proxy's client; invalid if there is none
	User   string         // the name that the client gave; "": none
	Name   string         // of the destination, as from NormalName; "": not known by name
	Addr   netip.AddrPort // of the destination; the address is invalid if it is unknown so far
	// Later tells that destinations come later, so that neither name nor port is known.
	Later  bool
	Caller func() Caller // returns who asked; called only if a rule needs it
}

// Caller is the process that asked for a connection. The zero value is a local process
// about which nothing is known.
type Caller struct {
	Elsewhere  bool // on another host, so neither a local user nor a local process
	Known      bool // UID is valid
	UID        uint32
	PID        int    // 0 if it could not be read
	Executable string // path, "" if it could not be read
	// Doubtful tells that the file that this process finds at Executable may be another
	// one (see IsAt). Then it cannot be found out whether a path fits.
	Doubtful bool
}

// String returns the name of the program or the user; "" if neither is known.
func (c Caller) String() string {
	switch {
	case !c.Known:
		return ""
	case c.Executable != "":
		return fmt.Sprintf("%s[%d]", path.Base(c.Executable), c.PID)
	}
	return fmt.Sprintf("uid %d", c.UID)
}

// NormalName returns a host name in the form that Subject.Name and patterns have.
//
// Only ASCII letters have a lower case here, as in DNS (RFC 4343). Some other letters, such
// as the sign for kelvin, would become ASCII letters, and the name that of another host.
func NormalName(name string) string {
	return strings.TrimSuffix(strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, name), ".")
}

// Matches tells whether m applies to s.
func (m *Match) Matches(s *Subject) Verdict {
	if len(m.Clients) > 0 && !slices.ContainsFunc(m.Clients, func(p netip.Prefix) bool { return p.Contains(s.Client) }) ||
		len(m.Users) > 0 && !slices.Contains(m.Users, s.User) {
		return No
	}
	if len(m.Ports) > 0 && !s.Later && !slices.ContainsFunc(m.Ports, func(p config.PortRange) bool { return p.Low <= s.Addr.Port() && s.Addr.Port() <= p.High }) {
		return No
	}
	d := Yes
	if s.Later && len(m.Ports)+len(m.Destinations) > 0 {
		d = Maybe
	} else if len(m.Destinations) > 0 {
		d = m.destination(s)
	}
	if d == No || len(m.UIDs)+len(m.Processes) == 0 {
		return d
	}
	return min(d, m.caller(s.Caller()))
}

// caller compares the user and the process.
func (m *Match) caller(who Caller) Verdict {
	result := Yes
	if len(m.UIDs) > 0 {
		switch {
		case who.Elsewhere, who.Known && !slices.Contains(m.UIDs, who.UID):
			return No
		case !who.Known:
			result = Unknown
		}
	}
	if len(m.Processes) > 0 {
		switch {
		case who.Elsewhere, who.Executable != "" && !m.process(who.Executable):
			return No
		case who.Executable == "", who.Doubtful && !slices.Contains(m.Processes, path.Base(who.Executable)):
			result = Unknown
		}
	}
	return result
}

func (m *Match) destination(s *Subject) Verdict {
	result := No
	for _, d := range m.Destinations {
		switch {
		case d.Pattern != "":
			if ok, _ := path.Match(d.Pattern, s.Name); ok && s.Name != "" { // the pattern was checked when it was read, so there is no error
				return Yes
			}
		case d.Network.Contains(s.Addr.Addr()):
			return Yes
		case !s.Addr.Addr().IsValid():
			result = Maybe
		}
	}
	return result
}

// NamesAddress tells whether a network in m contains ip. It is false if m merely
// applies to every destination.
func (m *Match) NamesAddress(ip netip.Addr) bool {
	return slices.ContainsFunc(m.Destinations, func(d Destination) bool { return d.Network.Bits() > 0 && d.Network.Contains(ip) })
}

// process compares the path of the executable, or its last part.
func (m *Match) process(executable string) bool {
	return slices.ContainsFunc(m.Processes, func(p string) bool {
		if strings.Contains(p, "/") {
			return p == executable
		}
		return p == path.Base(executable)
	})
}

func parseDestination(text string) (Destination, error) {
	if p, err := config.ParseNetwork(text); err == nil {
		return Destination{Network: p}, nil
	}
	text = NormalName(text)
	if _, err := path.Match(text, ""); err != nil || text == "" || strings.ContainsAny(text, "/:%") || strings.ContainsFunc(text, unicode.IsSpace) {
		return Destination{}, fmt.Errorf("must be a name or pattern such as \"*.example.org\", or a network such as \"192.0.2.0/24\", not %q", text)
	}
	return Destination{Pattern: text}, nil
}

func parseProcess(text string) (string, error) {
	if text == "" || strings.Contains(text, "/") && !path.IsAbs(text) {
		return "", fmt.Errorf("must be the name of a program such as \"restic\" or its whole path, not %q", text)
	}
	return text, nil
}

func parseUID(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == noUser {
		return 0, fmt.Errorf("must be a numeric user ID such as \"1000\", not %q", text)
	}
	return uint32(n), nil
}

// noUser is not a valid user id: for the kernel it means "unchanged" (setuid(2)).
const noUser = 1<<32 - 1
