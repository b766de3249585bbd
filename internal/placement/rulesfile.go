package placement

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/habits"
	"github.com/socket-intents/mamma/internal/rules"
)

// RulesFile is a file of rules in the syntax of the proxy's configuration: blocks
// "intents" and "learning", and the setting port_intents. The zero value has no rules.
// The file is passed to the supervisor as text, so that a later change of the file does
// not change the run.
type RulesFile struct {
	Name string
	Text string
	Dir  string // folder that paths in it are relative to
}

// ReadRulesFile reads the file at path, and says what is wrong with it.
func ReadRulesFile(ctx context.Context, path string) (RulesFile, error) {
	text, err := config.ReadFile(ctx, path, config.MaxSize+1) // ParseFile says that it is too large
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

// ruleset is the content of a file of rules.
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

// byName lists the rules whose destinations are only patterns of host names. Such a
// rule never applies in a run, which sees addresses but no names.
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

// stated is everything that is stated about the connections of a run.
type stated struct {
	Options
	rules  *ruleset
	learnt *habits.Learner // nil: nothing is learnt
}

// newStated reads the rules of o, and what earlier runs have learnt.
func newStated(o Options, say *speaker) (*stated, error) { return state(o, say, false) }

// newGuest is newStated for a run inside this one. Such a run keeps in memory what it
// learns. It may be in a sandbox, and this process would otherwise read and replace a
// file for it with rights that it lacks.
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

// save merges what was learnt into its file, in which other runs may have written
// since.
func (s *stated) save(say *speaker) {
	if s.learnt == nil || s.rules.learning.File == "" {
		return
	}
	s.load(say)
	if err := s.learnt.Save(s.rules.learning.File); err != nil {
		say.once("kept", "cannot save what was learnt, so the next run does not know it; make its directory writable, or name another file: %v", err)
	}
}

// intents returns the intents of a connection, and where they come from, for people. A
// part of the command line takes precedence over the rules, and these over what was
// stated for all connections.
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

// destOf returns the key by which a destination is remembered: its address, since no
// name is known.
func destOf(dest netip.AddrPort) habits.Dest {
	return habits.Dest{Host: dest.Addr().String(), Port: dest.Port()}
}
