package placement

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/habits"
	"github.com/socket-intents/mamma/internal/rules"
)

// RulesFile is a file of rules in the syntax of the proxy's configuration: blocks
// "intents", "learning" and the setting port_intents. The zero value has none. It
// goes to the supervisor as text, so that a change of the file does not change a run.
type RulesFile struct {
	Name string
	Text string
	Dir  string // that paths in it are relative to
}

// ReadRulesFile reads the file at path, and says what is wrong with it.
func ReadRulesFile(path string) (RulesFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return RulesFile{}, fmt.Errorf("read rules: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, config.MaxSize+1)) // ParseFile says that it is too large
	if err != nil {
		return RulesFile{}, fmt.Errorf("read rules: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return RulesFile{}, fmt.Errorf("read rules: %w", err)
	}
	r := RulesFile{path, string(text), dir}
	_, err = r.parse()
	return r, err
}

// ruleset is what a file of rules says.
type ruleset struct {
	intents  []rules.Intents
	ports    bool
	learning habits.Settings
}

func (f RulesFile) parse() (*ruleset, error) {
	r := &ruleset{learning: habits.Defaults()}
	if f == (RulesFile{}) {
		return r, nil
	}
	err := config.ParseFile([]byte(f.Text), f.Name, func(b *config.Body) {
		b.Bool("port_intents", &r.ports)
		b.Group("learning", r.learning.Describe)
		rules.DescribeIntents(b, &r.intents, (*rules.Match).Describe)
	})
	if r.learning.File != "" && !filepath.IsAbs(r.learning.File) {
		r.learning.File = filepath.Join(f.Dir, r.learning.File)
	}
	return r, err
}

// byName lists the rules that name destinations by patterns of host names only. Such a
// rule never applies to a run, which sees addresses and no names.
func (r *ruleset) byName() (names []string) {
	for _, i := range r.intents {
		named, addressed := false, false
		for _, d := range i.Match.Destinations {
			named = named || d.Pattern != ""
			addressed = addressed || d.Pattern == ""
		}
		if named && !addressed {
			names = append(names, i.Name)
		}
	}
	return names
}

// stated is all that is stated about the connections of a run.
type stated struct {
	Options
	rules  *ruleset
	learnt *habits.Learner // nil: nothing is learnt
}

// newStated reads the rules of o, and what earlier runs have learnt.
func newStated(o Options, say *speaker) (*stated, error) { return state(o, say, false) }

// newGuest is newStated for a run inside this one. What it learns stays in memory: it may
// be in a sandbox, and a file that it names would be read and replaced by this process,
// with rights that it lacks.
func newGuest(o Options, say *speaker) (*stated, error) { return state(o, say, true) }

func state(o Options, say *speaker, guest bool) (*stated, error) {
	r, err := o.Rules.parse()
	if err != nil {
		return nil, err
	}
	if guest && r.learning.File != "" {
		say.once("guest's file", "what a run inside this one learns is kept in memory, and not in %s", r.learning.File)
		r.learning.File = ""
	}
	s := &stated{Options: o, rules: r}
	if r.learning.On {
		s.learnt = habits.New(r.learning)
	}
	if names := r.byName(); len(names) > 0 {
		say.once("by name", "connections are seen by address: of %s, rules that name destinations by host name never apply: %q", o.Rules.Name, names)
	}
	s.load(say)
	return s, nil
}

func (s *stated) load(say *speaker) {
	if s.learnt == nil || s.rules.learning.File == "" {
		return
	}
	if err := s.learnt.Load(s.rules.learning.File); err != nil {
		say.once("learnt", "starting to learn anew: %v", err)
	}
}

// save writes what was learnt to its file, beside what other runs have written since.
func (s *stated) save(say *speaker) {
	if s.learnt == nil || s.rules.learning.File == "" {
		return
	}
	s.load(say)
	if err := s.learnt.Save(s.rules.learning.File); err != nil {
		say.once("kept", "what was learnt is not kept: %v", err)
	}
}

// intents are those of a connection, and where they are from, for people. A part
// of the command line counts before the rules, and these before what was stated for
// all connections.
func (s *stated) intents(dest netip.AddrPort, who caller) (set intent.Set, from string) {
	subject := rules.Subject{Addr: dest, Caller: func() rules.Caller {
		return rules.Caller{Known: true, UID: who.uid, PID: who.pid, Executable: rules.Executable(who.pid)}
	}}
	var usual func() intent.Set
	if s.learnt != nil {
		usual = func() intent.Set { return s.learnt.Typical(destOf(dest)) }
	}
	port := dest.Port()
	if !s.rules.ports {
		port = 0
	}
	var c rules.Choice
	if p := s.part(dest, who.command); p != nil {
		c.Add(p.Intents, "run, part")
	}
	c.Apply(s.rules.intents, &subject)
	c.Add(s.Intents, "run")
	c.Guess(usual, port)
	return c.Set, cmp.Or(c.From(), "run")
}

// destOf is how a destination is remembered: by address, as it is seen.
func destOf(dest netip.AddrPort) habits.Dest {
	return habits.Dest{Host: dest.Addr().String(), Port: dest.Port()}
}
