package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/process/httpserver"
	"github.com/socket-intents/mamma/policy"
)

// Scopes is the answer to /v1/scopes: which connections of programs that take no part are
// placed, and how.
type Scopes struct {
	Now    time.Time `json:"now"`
	Scopes []Scope   `json:"scopes"` // in the order of the configuration
	Root   *string   `json:"root"`   // the control group below which scopes are looked for; null: nothing is loaded
	// Hooks are the places in the kernel where connections are placed; none if nothing is.
	// MissingHooks are those that the kernel lacks.
	Hooks        []string `json:"hooks"`
	MissingHooks []string `json:"missing_hooks"`
	// Measured tells that the kernel reports by itself how TCP connections below Root fare.
	Measured bool    `json:"measured"`
	Kept     bool    `json:"kept"`     // connections are placed while no daemon runs, for some minutes
	Detached bool    `json:"detached"` // nothing is placed, on request
	Error    *string `json:"error"`    // why nothing is placed, or not as it should be
	// MPTCPError is why scopes with "mptcp" use TCP; null: they do not, or there are none.
	MPTCPError *string `json:"mptcp_error"`
	// Unseen counts connections that were placed and are not among the decisions, as there were
	// too many at once.
	Unseen       uint64 `json:"unseen"`
	Groups       int    `json:"groups"`       // number of control groups below Root
	Destinations int    `json:"destinations"` // number of destinations with a decision of their own
	Aside        int    `json:"aside"`        // number of prefixes with routes of their own, to which nothing is placed without a decision
}

// Scope is one scope.
type Scope struct {
	Name     string   `json:"name"`
	Line     int      `json:"line"` // in the configuration file
	Units    []string `json:"units"`
	Slices   []string `json:"slices"`
	Cgroups  []string `json:"cgroups"` // the patterns of the configuration
	Users    []string `json:"users"`
	Commands []string `json:"commands"`
	Intents  Intents  `json:"intents"`
	// Selection is which networks the scope permits and prefers; null: it does not say.
	Selection *string `json:"selection"`
	// Groups are the control groups all or some of whose processes belong to the scope.
	Groups []string      `json:"groups"`
	Usual  []ScopeAnswer `json:"usual"` // what is done with connections to most destinations
	// Variants are about connections for which rules of the scope, or well-known ports, state
	// other intents.
	Variants []ScopeVariant `json:"variants"`
	MPTCP    bool           `json:"mptcp"`    // sockets of TCP are to be made for Multipath TCP
	Learning bool           `json:"learning"` // intents are learnt by destination
	// Learnt is the number of destinations for which the choice rests on what earlier
	// connections have carried. A destination counts once for each user.
	Learnt int `json:"learnt"`
	// These count the scope's connections since the daemon's start. Failed are those of Left
	// and Refused that could not be bound to the network that was chosen.
	Placed  uint64 `json:"placed"`
	Left    uint64 `json:"left"` // left to the kernel's own choice
	Refused uint64 `json:"refused"`
	Failed  uint64 `json:"failed"`
}

// ScopeVariant is about the connections of a scope that some of its rules fit.
type ScopeVariant struct {
	Source  string        `json:"source"` // the rules, as "rule mail", in their order, and the well-known ports, as "ports 22, 23"
	Intents Intents       `json:"intents"`
	Usual   []ScopeAnswer `json:"usual"`
}

// ScopeAnswer is what is done with connections of one family and transport.
type ScopeAnswer struct {
	Family    string     `json:"family"`    // IPv4 or IPv6
	Transport string     `json:"transport"` // stream or datagram
	Kind      string     `json:"kind"`      // place, leave or refuse
	Chosen    *PrefixRef `json:"chosen"`    // null unless Kind is place
	Reason    string     `json:"reason"`
}

// Put sets Chosen to p in the form of the schema.
func (a *ScopeAnswer) Put(p *policy.Prefix) { a.Chosen = ref(p) }

// Put sets Intents to set in the form of the schema.
func (s *Scope) Put(set intent.Set) { s.Intents = intents(set) }

// Put sets Intents to set in the form of the schema.
func (v *ScopeVariant) Put(set intent.Set) { v.Intents = intents(set) }

// mayRead checks that the peer may see what other users do.
func (s *Server) mayRead(r *http.Request) error {
	if !s.guard.rights(peerFrom(r.Context())).ReadAll {
		return failure(http.StatusForbidden, "forbidden", errors.New("only root, the user that mamma runs as, and members of the group that the setting control_group names may see the scopes, which tell what others do"))
	}
	return nil
}

// scopes answers /v1/scopes.
func (s *Server) scopes(r *http.Request) (any, error) {
	if err := s.mayRead(r); err != nil {
		return nil, err
	}
	if s.opts.Scopes == nil {
		return nil, failure(http.StatusNotImplemented, "unsupported", errors.New("this mamma places no connections of others"))
	}
	ctx, cancel := context.WithTimeout(r.Context(), httpserver.ReadTimeout)
	defer cancel()
	sc, err := s.opts.Scopes(ctx)
	if err != nil {
		return nil, fmt.Errorf("the scopes' state: %w", err)
	}
	sc.Now = s.opts.now()
	return sc, nil
}

// detach answers /v1/scopes/detach.
func (s *Server) detach(r *http.Request) (any, error) {
	if err := s.mayChange(r); err != nil {
		return nil, err
	}
	if s.opts.DetachScopes == nil {
		return nil, failure(http.StatusNotImplemented, "unsupported", errors.New("this mamma places no connections of others"))
	}
	p := peerFrom(r.Context())
	s.log.Info("detaching asked for at the control socket", "uid", p.UID, "pid", p.PID)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), httpserver.ReadTimeout)
	defer cancel()
	if err := s.opts.DetachScopes(ctx); err != nil {
		return nil, failure(http.StatusUnprocessableEntity, "refused", err)
	}
	return s.scopes(r)
}
