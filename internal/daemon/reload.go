package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/scopes"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// reloader puts configurations into use. It is safe for concurrent use.
type reloader struct {
	log     *slog.Logger
	loader  *loader
	opts    *Options
	begun   *config.Config // the configuration of the start
	current *current
	budgets *budgets
	scopes  *scopes.Engine

	reloading sync.Mutex // held during a reload; taken before mu

	mu     sync.Mutex
	failed error // error of the latest reload; nil: it succeeded, or there was none
	at     time.Time
}

// start puts the first configuration into use.
func (r *reloader) start(cfg *config.Config) error {
	p, err := r.prepare(cfg)
	if err == nil {
		r.adopt(cfg, p)
	}
	return err
}

// reload reads the configuration again. Steps that can fail come before any effect, so
// that after an error everything is as before.
func (r *reloader) reload(ctx context.Context) (err error) {
	r.reloading.Lock()
	defer r.reloading.Unlock()
	defer func() { r.note(err) }()
	prompt, cancel := config.Promptly(ctx)
	cfg, err := r.loader.configuration(prompt, r.opts)
	cancel()
	if err != nil {
		return err
	}
	p, err := r.prepare(cfg)
	if err != nil {
		return err
	}
	if r.opts.OnConfig != nil {
		r.opts.OnConfig(cfg)
	}
	r.adopt(cfg, p)
	r.settle(ctx)
	for _, s := range needRestart(r.begun, cfg) {
		r.log.Warn("a changed setting takes effect at the next start only", "setting", s)
	}
	return nil
}

// scopesTimeout bounds how long the start and a reload wait for the scopes. Loading programs into the
// kernel takes a tenth of a second.
const scopesTimeout = 5 * time.Second

// settle waits until the kernel places connections as the scopes in use say, so that what
// is started after a start or reload is placed from its first connection on.
func (r *reloader) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, scopesTimeout)
	defer cancel()
	if _, err := r.scopes.State(ctx); err != nil && !errors.Is(err, scopes.ErrNotRunning) {
		r.log.Warn("the configured scopes are not in use yet", "err", err)
	}
}

// note keeps the result of a reload.
func (r *reloader) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed, r.at = err, time.Now()
}

// failure returns why and when the latest reload failed; "" if it did not.
func (r *reloader) failure() (why string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		return "", time.Time{}
	}
	return r.failed.Error(), r.at
}

// prepare takes the steps that can fail, above all making the policy. That may take
// seconds, during which the networks may change.
func (r *reloader) prepare(cfg *config.Config) (chosenPolicy, error) {
	if err := checkRouting(cfg); err != nil {
		return chosenPolicy{}, err
	}
	nets := r.current.nets.Snapshot()
	for _, w := range unintended(cfg, nets, manage(cfg, nets, r.current.facts.now())) {
		r.log.Warn(w)
	}
	if cfg.Policy.Name == "" {
		return chosenPolicy{name: "none", since: time.Now()}, nil
	}
	c, err := r.loader.constructor(cfg)
	if err != nil {
		return chosenPolicy{}, err
	}
	p := chosenPolicy{name: c.name, title: c.name, file: c.file, fresh: func() (policy.Policy, error) {
		return r.loader.makePolicy(cfg, c.make, r.current.prefixes(cfg))
	}}
	if cfg.Original { // users of the original expect the original's names
		p.title = c.title
	}
	if abs, err := filepath.Abs(c.file); err == nil && c.file != "" {
		p.file = abs
	}
	made, err := p.fresh()
	if err != nil {
		return chosenPolicy{}, err
	}
	for _, w := range unopened(cfg, made) {
		r.log.Warn(w)
	}
	p.runner, p.since = mam.NewRunner(p.name, made, r.log), time.Now()
	return p, nil
}

// adopt puts cfg and its policy into use, and tells the user.
func (r *reloader) adopt(cfg *config.Config, p chosenPolicy) {
	r.budgets.open(cfg)
	view, last := r.current.adopt(cfg, p)
	r.scopes.Configure(cfg.Scopes, cfg.Placing)
	if err := errors.Join(announceEnd(r.opts.Stdout, last), r.announce(p.title, view)); err != nil {
		// The error is only logged: the configuration is in use, even if nobody can
		// read of it.
		r.log.Warn("announcement not written", "err", err)
	}
}

// announce writes what the user wants to see when a policy was loaded.
func (r *reloader) announce(name string, v *mam.View) error {
	out := r.opts.Stdout
	if v.Runner == nil {
		_, err := fmt.Fprintln(out, "No policy is configured: every request is answered without a suggestion.")
		return err
	}
	if _, err := fmt.Fprintf(out, "Policy module %q is loading.\n", name); err != nil {
		return err
	}
	if err := v.WriteAnnouncement(out); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "Policy module %q has been loaded.\n", name)
	return err
}

// announceEnd writes that a policy is no longer in use. It writes nothing if there was
// none.
func announceEnd(out io.Writer, p chosenPolicy) error {
	if p.title == "" {
		return nil
	}
	_, err := fmt.Fprintf(out, "Policy module %q cleaned up.\n", p.title)
	return err
}

// needRestart names the settings that are read only at the start, and that differ
// between a, which is in use, and b.
func needRestart(a, b *config.Config) []string {
	var names []string
	for _, s := range []struct {
		name    string
		changed bool
	}{
		{"socket", a.Socket != b.Socket},
		{"control_socket", a.ControlSocket != b.ControlSocket},
		{"compat_socket", a.CompatSocket != b.CompatSocket},
		{"compat_fifo", a.CompatFIFO != b.CompatFIFO},
		{"control_group", a.ControlGroup != b.ControlGroup},
		{"state_dir", a.StateDirectory != b.StateDirectory},
		{"sampling", a.Sampling != b.Sampling},
		{"decisions", a.Decisions != b.Decisions},
		{"logs", a.Logs != b.Logs},
		{"metrics", a.Metrics != b.Metrics},
		{"system_bus", a.SystemBus != b.SystemBus},
		{"far_away", !slices.Equal(a.FarAway, b.FarAway)},
		{"mptcp", a.MPTCP != b.MPTCP},
		{"scopes", a.Placing.Root != b.Placing.Root || a.Placing.Pins != b.Placing.Pins || a.Placing.Measure != b.Placing.Measure},
	} {
		if s.changed {
			names = append(names, s.name)
		}
	}
	return names
}
