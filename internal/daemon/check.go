package daemon

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/selection"
	"github.com/socket-intents/mamma/policy"
)

// Check reads a configuration and makes its policy, and runs nothing. It
// returns what a start would warn of, and why it would fail. known are the policies
// that are compiled in.
func Check(path string, known policy.Catalogue) (warnings []string, err error) {
	l := &loader{known: known}
	cfg, err := l.readConfig(path)
	if err != nil {
		return nil, err
	}
	for _, w := range cfg.Warnings {
		warnings = append(warnings, w.String())
	}
	_, groupErr := control.LookupGroup(cfg.ControlGroup)
	nets, err := netmon.New(netmon.Options{Everywhere: oracle.EverywhereOf(cfg.FarAway)}, slog.New(slog.DiscardHandler))
	if err != nil {
		return warnings, fmt.Errorf("read the host's networks: %w", err)
	}
	defer nets.Close()
	for _, b := range selection.Unmatched(cfg, nets.Snapshot()) {
		what := fmt.Sprintf("prefix %q", b.Prefix)
		if !b.Prefix.IsValid() {
			what = fmt.Sprintf("interface %q", b.Interface)
		}
		warnings = append(warnings, cfg.ErrorAt(b.Pos, "%s matches no network of this host at the moment", what).Error())
	}
	list := manage(cfg, nets.Snapshot())
	warnings = append(warnings, twoDefaults(list)...)
	return warnings, (*config.Error)(nil).Join(groupErr, l.checkPolicy(cfg, list))
}

// checkPolicy makes the policy and closes it.
func (l *loader) checkPolicy(cfg *config.Config, list []managed) error {
	if cfg.Policy.Name == "" {
		return nil
	}
	c, err := l.constructor(cfg)
	if err != nil {
		return err
	}
	p, err := makePolicy(cfg, c.make, measured(list, &pathstat.Snapshot{}))
	if err != nil {
		return err
	}
	if closer, ok := p.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// Init gives a configuration for this host to start from.
func Init() (string, error) {
	nets, err := netmon.New(netmon.Options{}, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", fmt.Errorf("read the host's networks: %w", err)
	}
	defer nets.Close()
	var found []config.Network
	for _, m := range manage(config.Auto(), nets.Snapshot()) {
		found = append(found, config.Network{Interface: m.prefix.Interface, Prefix: m.prefix.CIDR, Default: m.prefix.Default})
	}
	return config.Init(found), nil
}

// Dump writes the state, as SIGUSR1 does.
func (d *Daemon) Dump(w io.Writer) error {
	return d.manager.View().WriteDump(w, time.Now())
}
