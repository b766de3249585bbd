package proxy

import (
	"path"
	"strconv"
	"strings"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/socks"
)

// chooser finds the intents of a request. The first of these that states intents
// counts: the client, the rules of the configuration, what was learnt about the
// destination, the well-known port.
type chooser struct {
	header string
	rules  []intentRule
	learnt *learner // nil: nothing is learnt
	ports  bool
	who    func(*socks.Request) caller
	// identify tells to look for each client's process. Without it, the process is
	// looked for only if a rule names processes or users.
	identify bool
}

// choice is what a chooser found.
type choice struct {
	set     intent.Set
	from    string // the sources that added something, for people
	mistake *mistake
}

// mistake is a client's text that was meant to state intents but cannot be read.
type mistake struct {
	text string
	err  error
}

func (c *chooser) choose(r *socks.Request, dest socks.Addr) choice {
	var ch choice
	var from []string
	add := func(s intent.Set, source string) {
		if merged := ch.set.Merge(s); merged != ch.set {
			ch.set = merged
			from = append(from, source)
		}
	}
	said, mistake := c.said(r)
	ch.mistake = mistake
	add(said, "client")
	s := towards(r, dest, func() caller { return c.who(r) })
	for i := range c.rules {
		if c.rules[i].match.matches(s) == yes {
			add(c.rules[i].set, "rule "+c.rules[i].name)
		}
	}
	// Averages over a destination's connections say nothing about this connection if
	// the client or a rule knows its kind.
	if _, stated := ch.set.Category(); !stated {
		if c.learnt != nil {
			add(c.learnt.typical(dest), "learnt")
		}
		if _, stated := ch.set.Category(); !stated && c.ports {
			add(portIntents(dest.Port), "port "+strconv.Itoa(int(dest.Port)))
		}
	}
	ch.from = strings.Join(from, ", ")
	return ch
}

// said returns the client's own text: the user name of SOCKS, or the header of HTTP.
func (c *chooser) said(r *socks.Request) (intent.Set, *mistake) {
	var all intent.Set
	for _, text := range append(r.Header.Values(c.header), intentsOfUser(r.User)) {
		s, err := intent.Parse(text)
		if err != nil {
			return intent.Set{}, &mistake{text, err}
		}
		all = all.Merge(s)
	}
	return all, nil
}

// origin is what the manager is told about r: the source of its intents, and the
// process that made it as far as that was found out.
func (c *chooser) origin(r *socks.Request, d *details, from string) client.Origin {
	o := client.Origin{UID: client.UnknownUID, Source: from}
	if !d.asked.Load() {
		return o
	}
	w := c.who(r)
	if w.known {
		o.UID, o.PID = w.uid, uint32(w.pid)
	}
	if w.executable != "" {
		o.Command = path.Base(w.executable)
	}
	return o
}

// splitUser splits a user name that carries intents: "alice", "alice,filesize=3M"
// or "filesize=3M".
func splitUser(user string) (name, intents string) {
	if !strings.Contains(user, "=") {
		return user, ""
	}
	first, rest, _ := strings.Cut(user, ",")
	if strings.Contains(first, "=") {
		return "", user
	}
	return first, rest
}

func intentsOfUser(user string) string {
	_, intents := splitUser(user)
	return intents
}

// withoutIntents checks passwords for names that carry intents.
type withoutIntents struct{ socks.Authenticator }

func (a withoutIntents) Authenticate(user, password string) bool {
	name, _ := splitUser(user)
	return a.Authenticator.Authenticate(name, password)
}

// portIntents are the intents that a well-known port stands for. Ports of the Web
// are missing: they serve small queries and large files alike.
func portIntents(port uint16) intent.Set {
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
