package daemon

import "github.com/socket-intents/mamma/internal/config"

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
	d.mu.Lock()
	old := d.cfg
	d.mu.Unlock()
	if err := d.adopt(cfg); err != nil {
		return err
	}
	for _, s := range needRestart(old, cfg) {
		d.log.Warn("a changed setting takes effect at the next start only", "setting", s)
	}
	return nil
}

// needRestart names the settings that differ but are read at start only.
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
		{"mptcp", a.MPTCP != b.MPTCP},
	} {
		if s.changed {
			names = append(names, s.name)
		}
	}
	return names
}
