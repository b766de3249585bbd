package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/socket-intents/mamma/internal/process/httpserver"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

func (s *Server) status(r *http.Request) (any, error) {
	now := s.opts.now()
	v, st := s.opts.Manager.View(), s.opts.State()
	out := Status{
		Schema: SchemaVersion, Now: now, Version: s.opts.Version, Build: build(), PID: os.Getpid(),
		Started: s.opts.Started, UptimeMS: millis(now.Sub(s.opts.Started)),
		Policy: policyState(v, &st), Config: configState(&st),
		Interfaces: len(interfaces(v, now)), Clients: st.Clients,
		Decisions:  s.took.counts(s.opts.Manager.Decisions(), now),
		PlainDials: PlainDials(s.opts.Manager.PlainDials()),
		Rights:     s.guard.rights(peerFrom(r.Context())), AvoidMetered: v.AvoidMetered,
		Routing: st.Routing,
	}
	if out.Routing.Others == nil {
		out.Routing.Others = []OtherRule{}
	}
	out.Decisions.Leased = s.opts.Manager.LeasedConnections()
	for _, p := range v.Prefixes {
		out.Prefixes.Total++
		switch p.Health.State {
		case policy.Up:
			out.Prefixes.Up++
		case policy.Suspect:
			out.Prefixes.Suspect++
		case policy.Down:
			out.Prefixes.Down++
		}
		switch p.Cost {
		case policy.Free:
		case policy.Metered:
			out.Prefixes.Metered++
		case policy.Expensive:
			out.Prefixes.Expensive++
		}
		if exceeded(p.Budget) {
			out.Prefixes.OverBudget++
		}
	}
	return out, nil
}

func build() Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Build{}
	}
	b := Build{Go: info.GoVersion}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = text(s.Value)
		case "vcs.modified":
			b.Modified = known(s.Value == "true")
		}
	}
	return b
}

func policyState(v *mam.View, st *State) PolicyState {
	if v.Runner == nil {
		return PolicyState{WhyNot: text("no policy is loaded")}
	}
	out := PolicyState{Name: text(v.Runner.Name), Since: stamp(st.PolicySince), InService: true, Panics: v.Runner.Panics()}
	if err := v.Runner.Err(); err != nil {
		out.InService, out.WhyNot = false, text(err.Error())
	}
	return out
}

func configState(st *State) ConfigState {
	return ConfigState{
		File: text(st.ConfigFile), Loaded: stamp(st.Loaded),
		Error: text(st.LoadError), ErrorTime: stamp(st.LoadErrorTime),
	}
}

func (s *Server) interfaces(*http.Request) (any, error) {
	now := s.opts.now()
	return Interfaces{Now: now, Interfaces: interfaces(s.opts.Manager.View(), now)}, nil
}

func (s *Server) prefixes(*http.Request) (any, error) {
	now := s.opts.now()
	v := s.opts.Manager.View()
	return Prefixes{Now: now, Prefixes: prefixes(v, v.Prefixes, now)}, nil
}

func (s *Server) policy(*http.Request) (any, error) {
	v, st := s.opts.Manager.View(), s.opts.State()
	out := Policy{
		Now: s.opts.now(), State: policyState(v, &st), Settings: []PolicySetting{},
		File: text(st.PolicyFile), Config: configState(&st),
	}
	for _, set := range st.Settings {
		ps := PolicySetting{Name: set.Name, List: set.List, Text: set.Expr, Block: set.Block, File: set.File, Line: set.Line}
		if set.Constant && set.List == nil {
			ps.Value = known(set.Value)
		}
		out.Settings = append(out.Settings, ps)
	}
	return out, nil
}

// explain answers a hypothetical request. Everybody may ask, because the answer shows
// nothing beyond the prefixes and the policy.
func (s *Server) explain(r *http.Request) (any, error) {
	var body Question
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	p := peerFrom(r.Context())
	e, err := Explain(s.opts.Manager, &body, policy.App{UID: p.UID, PID: uint32(max(p.PID, 0))}, s.opts.now())
	var wrong *QuestionError
	switch {
	case errors.As(err, &wrong):
		return nil, badRequest(err)
	case errors.Is(err, mam.ErrBusy):
		return nil, failure(http.StatusConflict, "busy", err)
	case errors.Is(err, mam.ErrNoPolicy):
		return nil, failure(http.StatusNotImplemented, "unsupported", err)
	case err != nil:
		return nil, fmt.Errorf("the question could not be answered: %w", err)
	}
	return e, nil
}

// QuestionError says what is wrong with a Question.
type QuestionError struct{ Err error }

func (e *QuestionError) Error() string { return e.Err.Error() }
func (e *QuestionError) Unwrap() error { return e.Err }

// Explain answers a Question that app asks. The error is a *QuestionError, or one of
// mam.Manager.Explain.
func Explain(m *mam.Manager, question *Question, app policy.App, now time.Time) (Explanation, error) {
	q, err := question.question()
	if err != nil {
		return Explanation{}, &QuestionError{err}
	}
	q.App = app
	v := m.View() // only for display; a newer View differs in measurements
	e, err := m.Explain(q, now)
	if err != nil {
		return Explanation{}, err
	}
	out := Explanation{Now: now, Decision: decision(&e.Record), Candidates: prefixes(v, e.Candidates, now), Device: text(e.Device)}
	if e.Resolver != nil {
		out.Resolver = &ResolverRef{Servers: servers(e.Resolver), Prefix: ref(e.ResolverOf), Domain: text(e.ResolverDomain)}
	}
	return out, nil
}

// Networks returns the managed prefixes of a View, in the form of /v1/prefixes.
func Networks(v *mam.View, now time.Time) []Prefix { return prefixes(v, v.Prefixes, now) }

// mayChange returns an error for peers who may only look.
func (s *Server) mayChange(r *http.Request) error {
	if s.guard.rights(peerFrom(r.Context())).Change {
		return nil
	}
	return failure(http.StatusForbidden, "forbidden", errors.New("only root and the user that mamma runs as may do that"))
}

func (s *Server) set(r *http.Request) (any, error) {
	if err := s.mayChange(r); err != nil {
		return nil, err
	}
	var body Setting
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	if body.Text == "" || strings.ContainsAny(body.Text, "\n\x00") {
		return nil, badRequest(errors.New("text must be one line, and not empty"))
	}
	err := s.opts.Manager.Reconfigure(body.Text)
	p := peerFrom(r.Context())
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil, failure(http.StatusNotImplemented, "unsupported", err)
	case err != nil:
		return nil, failure(http.StatusUnprocessableEntity, "refused", err)
	}
	s.log.Info("policy configured at run time", "uid", p.UID, "pid", p.PID, "text", body.Text)
	return s.policy(r)
}

func (s *Server) forget(r *http.Request) (any, error) {
	if err := s.mayChange(r); err != nil {
		return nil, err
	}
	var body Forgetting
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	if len(body.Interface) > maxName {
		return nil, badRequest(fmt.Errorf("interface must not have more than %d characters", maxName))
	}
	if s.opts.Forget == nil {
		return nil, failure(http.StatusNotImplemented, "unsupported", errors.New("this mamma cannot forget"))
	}
	p := peerFrom(r.Context())
	s.log.Info("what was measured is forgotten, as asked for at the control socket", "iface", body.Interface, "uid", p.UID, "pid", p.PID)
	return Forgotten{Now: s.opts.now(), Attachments: s.opts.Forget(body.Interface)}, nil
}

func (s *Server) reload(r *http.Request) (any, error) {
	if err := s.mayChange(r); err != nil {
		return nil, err
	}
	if s.opts.Reload == nil {
		return nil, failure(http.StatusNotImplemented, "unsupported", errors.New("this mamma cannot reload"))
	}
	p := peerFrom(r.Context())
	s.log.Info("reload asked for at the control socket", "uid", p.UID, "pid", p.PID)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), httpserver.WriteTimeout-time.Second)
	defer cancel()
	if err := s.opts.Reload(ctx); err != nil {
		return nil, failure(http.StatusUnprocessableEntity, "refused", err)
	}
	return s.policy(r)
}
