package rules

import (
	"fmt"
	"strconv"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/config"
)

// Intents states intents for what it matches. In a file it is a block
// intents "NAME" { set = "category=bulktransfer" … }.
type Intents struct {
	Name  string
	Match Match
	Set   intent.Set
}

// DescribeIntents lets a file have blocks of Intents, which go to list in their
// order. match describes what they may match.
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
		b.After(func() {
			if !b.Given("set") {
				b.Errorf(at, "intents %q sets none: set = \"category=bulktransfer\"", name)
			}
			*list = append(*list, r)
		})
	})
}

// Describe lets a block have the settings of a match that is about a connection of
// this host.
func (m *Match) Describe(b *config.Body) {
	config.Texts(b, "destination", &m.Destinations, parseDestination)
	config.Texts(b, "port", &m.Ports, ParsePorts)
	config.Texts(b, "uid", &m.UIDs, parseUID)
	config.Texts(b, "process", &m.Processes, parseProcess)
}

// DescribeClient adds those that are about the client of a proxy.
func (m *Match) DescribeClient(b *config.Body) {
	m.Describe(b)
	config.Texts(b, "client", &m.Clients, parseNetwork)
	config.Texts(b, "user", &m.Users, notEmpty)
}

func notEmpty(text string) (string, error) {
	if text == "" {
		return "", fmt.Errorf("must not be empty")
	}
	return text, nil
}

// Usual gives what is usual at a destination, such as habits.Learner does.
type Usual func() intent.Set

// Choose finds the intents of a connection, and where they are from, for people.
// What is stated counts first, then the rules in their order, each intent by
// itself. What is usual at the destination, and then what the port stands for if
// ports is set, count only where nobody has said of what kind the connection is:
// averages say nothing about a connection whose kind is known.
func Choose(stated intent.Set, by string, list []Intents, s *Subject, usual Usual, ports bool) (set intent.Set, from []string) {
	add := func(more intent.Set, source string) {
		if merged := set.Merge(more); merged != set {
			set = merged
			from = append(from, source)
		}
	}
	add(stated, by)
	for i := range list {
		if list[i].Match.Matches(s) == Yes {
			add(list[i].Set, "rule "+list[i].Name)
		}
	}
	if _, known := set.Category(); known {
		return set, from
	}
	if usual != nil {
		add(usual(), "learnt")
	}
	if _, known := set.Category(); !known && ports {
		add(OfPort(s.Addr.Port()), "port "+strconv.Itoa(int(s.Addr.Port())))
	}
	return set, from
}

// OfPort gives the intents that a well-known port stands for. Ports of the Web
// are missing: they serve small queries and large files alike.
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
