package replay

import (
	"fmt"
	"slices"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/policy"
)

// Subject is a policy that recorded requests are put to.
type Subject struct {
	Name   string
	policy policy.Policy
	// remake makes the policy again for the prefixes of the first request, and is
	// nil afterwards. Some policies look at the prefixes when they are made.
	remake func([]*policy.Prefix) (policy.Policy, error)
	config *config.Config // nil: prefixes are as recorded
	// adapted are the prefixes in use as the configuration would have them.
	adapted map[*policy.Prefix]*policy.Prefix
}

// Load makes the policy of that name. The name is one of known, or the module's name
// in the Socket Intents prototype. A configuration file, if given, must be for this
// policy and has its settings; name may be "" then. If a block of the file names a
// recorded prefix, the block's options, cost and default replace the recorded ones.
// seed is for random choices.
func Load(known policy.Catalogue, name, file string, seed uint64) (*Subject, error) {
	if file == "" {
		return makeSubject(known, name, policy.Config{}, seed)
	}
	cfg, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	own, _ := known.Find(cfg.Policy.Name)
	switch wanted, _ := known.Find(name); {
	case cfg.Policy.Name == "":
		return nil, fmt.Errorf("%s configures no policy", file)
	case name != "" && name != cfg.Policy.Name && (own == "" || own != wanted):
		return nil, fmt.Errorf("%s configures policy %q, not %q", file, cfg.Policy.Name, name)
	}
	s, err := makeSubject(known, cfg.Policy.Name, cfg.PolicyConfig(), seed)
	if err != nil {
		return nil, cfg.Explain(err)
	}
	if len(cfg.Blocks) > 0 {
		s.config = cfg
	}
	return s, nil
}

func makeSubject(known policy.Catalogue, name string, pc policy.Config, seed uint64) (*Subject, error) {
	own, ok := known.Find(name)
	if !ok {
		return nil, fmt.Errorf("unknown policy %q%s", name, config.Suggest(name, known.Names()))
	}
	pc.Name, pc.Seed = own, seed
	s := &Subject{Name: own, remake: func(list []*policy.Prefix) (policy.Policy, error) {
		pc.Prefixes = list
		return known.New(own, pc)
	}}
	var err error
	s.policy, err = s.remake(nil)
	return s, err
}

// Close closes the policy if it is an io.Closer.
func (s *Subject) Close() error {
	if c, ok := s.policy.(interface{ Close() error }); ok {
		return c.Close()
	}
	return nil
}

// ask puts a request to the policy. The decision is about the returned request.
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

// maxAdapted bounds the memory for prefixes: a recording describes each prefix again
// whenever a measurement changes.
const maxAdapted = 4096

// adapt returns r with the prefixes as the configuration would have them.
func (s *Subject) adapt(r *policy.Request) *policy.Request {
	if s.config == nil {
		return r
	}
	if s.adapted == nil || len(s.adapted) > maxAdapted {
		s.adapted = map[*policy.Prefix]*policy.Prefix{}
	}
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
		changed.Options, changed.Cost = set.Options, set.Cost
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
