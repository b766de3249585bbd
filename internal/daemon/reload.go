package daemon

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// Reload reads the configuration again. Everything is built before anything is
// replaced: after an error the old state runs on.
func (d *Daemon) Reload() (err error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	defer func() { d.reloaded(err) }()
	cfg, err := d.loadConfig()
	if err != nil {
		return err
	}
	if err := d.adopt(cfg); err != nil {
		return err
	}
	for _, s := range needRestart(d.begun, cfg) {
		d.log.Warn("a changed setting takes effect at the next start only", "setting", s)
	}
	return nil
}

func (d *Daemon) loadConfig() (cfg *config.Config, err error) {
	if cfg = config.Auto(); d.opts.ConfigPath != "" {
		if cfg, err = d.loader.readConfig(d.opts.ConfigPath); err != nil {
			return nil, err
		}
	}
	d.opts.Overrides.apply(cfg)
	return cfg, nil
}

// adopt makes cfg the configuration, once its policy could be made. That may take
// seconds, in which the networks change as ever.
func (d *Daemon) adopt(cfg *config.Config) error {
	if err := checkRouting(cfg); err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		d.log.Warn(w.String())
	}
	for _, w := range twoDefaults(manage(cfg, d.nets.Snapshot())) {
		d.log.Warn(w)
	}
	if d.opts.OnConfig != nil {
		d.opts.OnConfig(cfg)
	}
	var runner *mam.Runner
	var next loaded
	name := "none"
	if cfg.Policy.Name != "" {
		c, err := d.loader.constructor(cfg)
		if err != nil {
			return err
		}
		name, next.file = c.name, c.file
		if abs, err := filepath.Abs(c.file); err == nil && c.file != "" {
			next.file = abs
		}
		next.fresh = func() (policy.Policy, error) {
			return d.loader.makePolicy(cfg, c.make, measured(manage(cfg, d.nets.Snapshot()), d.sampler.Snapshot()))
		}
		p, err := next.fresh()
		if err != nil {
			return err
		}
		runner = mam.NewRunner(name, p, d.log)
	}
	d.budgets.open(cfg)

	d.nets.KeepRoutes(cfg.Routing == config.RoutingManage)

	d.mu.Lock()
	next.at = time.Now()
	d.cfg, d.runner, d.loaded = cfg, runner, next
	view := d.renewLocked()
	d.mu.Unlock()

	if err := d.announce(name, view); err != nil {
		// The configuration is in use by now, whether somebody reads of it or not.
		d.log.Warn("announcement not written", "err", err)
	}
	return nil
}

// announce writes what a person wants to see when a policy was loaded.
func (d *Daemon) announce(name string, v *mam.View) error {
	out := d.opts.Stdout
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

// needRestart names the settings that are read at the start only and of which b
// does not say what is in use, as of a.
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
		{"far_away", !slices.Equal(a.FarAway, b.FarAway)},
		{"mptcp", a.MPTCP != b.MPTCP},
	} {
		if s.changed {
			names = append(names, s.name)
		}
	}
	return names
}
