package rules

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/config"
)

// Intents is a rule that states intents for the connections that it matches. In a file
// it is a block intents "NAME" { set = "category=bulktransfer" … }.
type Intents struct {
	Name  string
	Match Match
	Set   intent.Set
}

// DescribeIntents adds blocks of Intents to the description of a file. They are
// appended to list in their order. match describes what they may match.
func DescribeIntents(b *config.Body, list *[]Intents, match func(*Match, *config.Body)) {
	b.Named("intents", "name", func(name string, at config.Pos, b *config.Body) {
		r := Intents{Name: name}
		config.Text(b, "set", &r.Set, func(text string) (intent.Set, error) {
			s, err := intent.Parse(text)
			if err != nil {
				return s, fmt.Errorf("is wrong: %w", err)
			}
			if s.IsZero() {
				return s, fmt.Errorf("must state an intent such as \"category=bulktransfer\"")
			}
			return s, nil
		})
		match(&r.Match, b)
		misplaced := false
		b.Elsewhere(func(name, value string) string {
			hint := statedBySet(name, value)
			misplaced = misplaced || hint != ""
			return hint
		})
		b.After(func() {
			if !b.Given("set") && !misplaced {
				b.Errorf(at, "intents %q sets none: set = \"category=bulktransfer\"", name)
			}
			*list = append(*list, r)
		})
	})
}

// statedBySet returns a remark about an intent that is written as a setting: it says
// how to state it.
func statedBySet(name, value string) string {
	if o, err := intent.ParseOption(name); err == nil {
		return fmt.Sprintf("intents are stated by set = \"%v=%s\"", o, value)
	}
	return ""
}

// StatedElsewhere returns a remark about an intent in a block that states none.
func StatedElsewhere(name, value string) string {
	if hint := statedBySet(name, value); hint != "" {
		return hint + " in a block intents \"NAME\" { ... }"
	}
	return ""
}

// Describe adds the settings of a match for connections of this host to the description
// of a block.
func (m *Match) Describe(b *config.Body) {
	config.Texts(b, "destination", &m.Destinations, parseDestination)
	config.Numbers(b, "port", &m.Ports, config.ParsePorts)
	config.Numbers(b, "uid", &m.UIDs, parseUID)
	config.Texts(b, "process", &m.Processes, parseProcess)
}

// DescribeClient adds the settings about a proxy's clients.
func (m *Match) DescribeClient(b *config.Body) {
	m.Describe(b)
	config.Texts(b, "client", &m.Clients, config.ParseNetwork)
	config.Texts(b, "user", &m.Users, notEmpty)
}

func notEmpty(text string) (string, error) {
	if text == "" {
		return "", fmt.Errorf("must not be empty")
	}
	return text, nil
}

// Choice collects the intents of a connection. If several sources state the same
// intent, the first one added counts. The zero value has no intents.
type Choice struct {
	Set  intent.Set
	from []string
}

// Add adds intents. It notes the source if that adds something.
func (c *Choice) Add(s intent.Set, source string) {
	if merged := c.Set.Merge(s); merged != c.Set {
		c.Set = merged
		c.from = append(c.from, source)
	}
}

// Apply adds the intents of the rules that match, in their order.
func (c *Choice) Apply(list []Intents, s *Subject) {
	for i := range list {
		if list[i].Match.Matches(s) == Yes {
			c.Add(list[i].Set, "rule "+list[i].Name)
		}
	}
}

// Guess adds guesses about the kind of connection: first those of usual, such as what
// was learnt about the destination, and then those of a well-known port. usual may be
// nil, and port 0. If the category is known already, Guess adds nothing.
func (c *Choice) Guess(usual func() intent.Set, port uint16) {
	if _, known := c.Set.Category(); known {
		return
	}
	if usual != nil {
		c.Add(usual(), "learnt")
	}
	if _, known := c.Set.Category(); !known {
		c.Add(OfPort(port), "port "+strconv.Itoa(int(port)))
	}
}

// From lists the sources that have added something, for people.
func (c *Choice) From() string { return strings.Join(c.from, ", ") }

// OfPort returns the intents that a well-known port stands for. The ports of the Web
// have none, because they serve small queries and large files alike.
func OfPort(port uint16) intent.Set {
	var s intent.Set
	switch port {
	case 22, 23, 3389, 5900: // SSH, Telnet, RDP, VNC
		return s.WithCategory(intent.CategoryControlTraffic).WithTimeliness(intent.TimelinessInteractive)
	case 53, 123, 853, 3478: // DNS, NTP, DNS over TLS, STUN
		return s.WithCategory(intent.CategoryQuery).WithTimeliness(intent.TimelinessInteractive)
	case 20, 873, 9418: // FTP's data, rsync, git
		return s.WithCategory(intent.CategoryBulkTransfer).WithTimeliness(intent.TimelinessTransfer)
	case 25, 465, 587: // mail being sent
		return s.WithCategory(intent.CategoryBulkTransfer).WithTimeliness(intent.TimelinessBackgroundTraffic)
	case 143, 993, 5222, 5223, 5228: // IMAP, XMPP, push messages
		return s.WithCategory(intent.CategoryKeepAlives).WithTimeliness(intent.TimelinessBackgroundTraffic)
	case 554, 1935: // RTSP, RTMP
		return s.WithCategory(intent.CategoryStream).WithTimeliness(intent.TimelinessStreaming)
	}
	return s
}
