package replay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/plugin"
	"github.com/socket-intents/mamma/policy"
)

// Subject is a policy that recorded requests are given to.
type Subject struct {
	Name   string
	policy policy.Policy
	// remake makes the policy again for the prefixes of the first request, because some
	// policies look at the prefixes when they are made. It is nil after that.
	remake func([]*policy.Prefix) (policy.Policy, error)
	config *config.Config // nil: prefixes are as recorded
	own    tokens
	// adapted holds the prefixes in use with the settings of the configuration.
	adapted map[*policy.Prefix]*policy.Prefix
}

// Load makes the policy with that name. The name is one of known, or that of the module
// in the Socket Intents prototype, or a plugin as a configuration of mamma names it,
// which plugins opens. If there is a configuration file, it must be for this policy,
// and gives the policy's settings; name may then be "". If a block of the file names a
// recorded prefix, the block's options, cost and default replace the recorded ones.
// seed is the seed for random choices.
func Load(ctx context.Context, known policy.Catalogue, plugins *plugin.Loader, name, file string, seed uint64) (*Subject, error) {
	if file == "" {
		s := source{known: known, plugins: plugins}
		if err := s.locate(name, nil); err != nil {
			return nil, err
		}
		return s.subject(policy.Config{Seed: seed})
	}
	cfg, err := config.Load(ctx, file)
	if err != nil {
		return nil, err
	}
	if cfg.Policy.Name == "" {
		return nil, fmt.Errorf("%s configures no policy", file)
	}
	s := source{known: known, plugins: plugins}
	if err := s.locate(cfg.Policy.Name, cfg.PolicyPath); err != nil {
		return nil, cfg.ErrorAt(cfg.Policy.Pos, "%v", err)
	}
	if name != "" && name != cfg.Policy.Name {
		wanted := source{known: known}
		if err := wanted.locate(name, cfg.PolicyPath); err != nil || wanted.own != s.own || !sameFile(wanted.path, s.path) {
			return nil, fmt.Errorf("%s configures policy %q, not %q", file, cfg.Policy.Name, name)
		}
	}
	pc := cfg.PolicyConfig()
	pc.Seed = seed
	subject, err := s.subject(pc)
	if err != nil {
		return nil, cfg.Explain(err)
	}
	if len(cfg.Blocks) > 0 {
		subject.config = cfg
	}
	return subject, nil
}

func sameFile(a, b string) bool {
	if a == b {
		return true
	}
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// source is where a policy comes from.
type source struct {
	known     policy.Catalogue
	plugins   *plugin.Loader
	own, path string // name of a known policy, or file of a plugin
}

// locate finds the policy with that name. Plugins are searched in dirs or, if there are
// none, where mamma searches.
func (s *source) locate(name string, dirs []string) (err error) {
	if s.own, s.path, err = plugin.Locate(s.known, name, dirs); err != nil && !plugin.IsPath(name) {
		return config.UnknownPolicy(name, s.known.Names(), err)
	}
	if s.path != "" { // absolute, as the daemon has it
		if path, err := filepath.Abs(s.path); err == nil {
			s.path = path
		}
	}
	return err
}

// subject makes the policy.
func (s *source) subject(pc policy.Config) (*Subject, error) {
	name, construct := s.own, func(pc policy.Config) (policy.Policy, error) { return s.known.New(s.own, pc) }
	if s.path != "" {
		name = strings.TrimSuffix(filepath.Base(s.path), ".so")
		var err error
		if construct, err = s.plugins.Open(s.path); err != nil {
			if e := (*plugin.Error)(nil); errors.As(err, &e) && e.Hint != "" {
				err = fmt.Errorf("%w\n    %s", err, e.Hint)
			}
			return nil, err
		}
	}
	if s.path == "" || pc.Name == "" {
		pc.Name = name
	}
	subject := &Subject{Name: name, remake: func(list []*policy.Prefix) (p policy.Policy, err error) {
		defer func() { // a plugin may panic
			if v := recover(); v != nil {
				p, err = nil, fmt.Errorf("policy %s: New panicked: %v", name, v)
			}
		}()
		pc.Prefixes = list
		if p, err = construct(pc); p == nil && err == nil {
			err = fmt.Errorf("policy %s: New returned neither a policy nor an error", name)
		}
		return p, err
	}}
	var err error
	subject.policy, err = subject.remake(nil)
	return subject, err
}

// Close closes the policy if it is an io.Closer.
func (s *Subject) Close() error {
	if c, ok := s.policy.(interface{ Close() error }); ok {
		return c.Close()
	}
	return nil
}

// ask gives a request to the policy. The decision is about the returned request.
func (s *Subject) ask(r *policy.Request) (asked *policy.Request, d policy.Decision, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("policy %s panicked: %v", s.Name, v)
		}
	}()
	asked = s.adapt(r)
	if s.remake != nil {
		if err := s.Close(); err != nil {
			return asked, d, err
		}
		if s.policy, err = s.remake(asked.Prefixes); err != nil {
			return asked, d, err
		}
		s.remake = nil
	}
	if o, ok := s.policy.(policy.Observer); ok {
		o.Measured(asked.Prefixes, asked.Now)
	}
	if r.Kind != policy.Resolve {
		d = s.policy.Choose(asked)
		if d.Prefix != nil && !slices.Contains(asked.Prefixes, d.Prefix) && d.Prefix != asked.BoundPrefix {
			return asked, policy.Decision{}, fmt.Errorf("policy %s chose %v, which was not offered", s.Name, d.Prefix.ID)
		}
		return asked, d, nil
	}
	if c, ok := s.policy.(policy.ResolveChooser); ok {
		return asked, c.ChooseResolver(asked), nil
	}
	return asked, policy.Decision{Resolution: policy.ResolveDefault}, nil
}

// maxAdapted bounds the memory for prefixes, because a recording describes each prefix
// again whenever a measurement changes.
const maxAdapted = 4096

// adapt returns r with the configuration's settings for its prefixes.
func (s *Subject) adapt(r *policy.Request) *policy.Request {
	if s.config == nil {
		return r
	}
	s.makeRoom()
	q := *r
	q.BoundPrefix, q.StandIn = s.prefix(r.BoundPrefix), s.prefix(r.StandIn)
	q.Prefixes = make([]*policy.Prefix, len(r.Prefixes))
	for i, p := range r.Prefixes {
		q.Prefixes[i] = s.prefix(p)
	}
	q.Sockets = slices.Clone(r.Sockets)
	for i := range q.Sockets {
		q.Sockets[i].Prefix = s.prefix(q.Sockets[i].Prefix)
	}
	return &q
}

// makeRoom forgets adapted prefixes if there are many. One request never holds two copies
// of the same prefix, so it is not called in the middle of one.
func (s *Subject) makeRoom() {
	if s.adapted == nil || len(s.adapted) > maxAdapted {
		s.adapted = map[*policy.Prefix]*policy.Prefix{}
	}
}

func (s *Subject) prefix(p *policy.Prefix) *policy.Prefix {
	if p == nil {
		return nil
	}
	if q := s.adapted[p]; q != nil {
		return q
	}
	q := p
	if set := s.config.Settings(p.Interface, p.CIDR); set.Named {
		changed := *p
		changed.Name, changed.Options, changed.Cost = set.Name, set.Options, set.Cost
		if set.Default != nil {
			changed.Default = *set.Default
		} else if !s.config.Auto {
			changed.Default = false
		}
		q = &changed
	}
	s.adapted[p] = q
	return q
}
