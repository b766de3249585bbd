package proxy

import (
	"path"
	"strings"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/habits"
	"github.com/socket-intents/mamma/internal/rules"
	"github.com/socket-intents/mamma/socks"
)

// chooser finds the intents of a request. The first of these that states intents
// counts: the client, the rules of the configuration, what was learnt about the
// destination, the well-known port.
type chooser struct {
	header string
	rules  []rules.Intents
	learnt *habits.Learner // nil: nothing is learnt
	ports  bool
	who    func(*socks.Request) rules.Caller
	// identify says to find out each client's process. Without it, that is done in two
	// cases only: a rule names processes or users, or the client offers a password
	// (nameless).
	identify bool
}

// choice is the result of a chooser.
type choice struct {
	set     intent.Set
	from    string // the sources of the intents, for people
	mistake *mistake
}

// mistake is a client's text that was meant to state intents but cannot be read.
type mistake struct {
	text string
	err  error
}

func (c *chooser) choose(r *socks.Request, dest socks.Addr) choice {
	said, mistake := c.said(r)
	s := towards(r, dest, func() rules.Caller {
		who := c.who(r)
		who.Doubtful = false // the path will do: intents give no access
		return who
	})
	var usual func() intent.Set
	if c.learnt != nil {
		usual = func() intent.Set { return c.learnt.Typical(habits.Dest(dest)) }
	}
	port := dest.Port
	if !c.ports {
		port = 0
	}
	var found rules.Choice
	found.Add(said, "client")
	found.Apply(c.rules, &s)
	found.Guess(usual, port)
	return choice{found.Set, found.From(), mistake}
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

// origin returns what the manager is told about r: the source of its intents, and the
// process that made it if that is known.
func (c *chooser) origin(r *socks.Request, d *details, from string) client.Origin {
	o := client.Origin{UID: client.UnknownUID, Source: from}
	if !d.asked.Load() {
		return o
	}
	w := c.who(r)
	if w.Known {
		o.UID, o.PID = w.UID, uint32(w.PID)
	}
	if w.Executable != "" {
		o.Command = path.Base(w.Executable)
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

// withoutIntents removes intents from names before the names' passwords are checked.
type withoutIntents struct{ socks.Authenticator }

func (a withoutIntents) Authenticate(user, password string) bool {
	name, _ := splitUser(user)
	return a.Authenticator.Authenticate(name, password)
}
