package daemon

import (
	"net/netip"
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/mptcp"
	"github.com/socket-intents/mamma/internal/mptcp/pathmanager"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/mam/policy"
)

// openPathManager opens the MPTCP path manager that the configuration wants,
// nil for none.
func (d *Daemon) openPathManager(cfg *config.Config) (*pathmanager.Manager, error) {
	mode := mptcp.InKernel
	switch cfg.MPTCP.PathManager {
	case config.PathManagerOff:
		return nil, nil
	case config.PathManagerUserspace:
		mode = mptcp.Userspace
	}
	m, err := pathmanager.Open(mode, d.manager, d.log)
	if err == nil {
		d.paths.Store(m)
	}
	return m, err
}

// pathInput is what MPTCP paths depend on of one prefix.
type pathInput struct {
	id     policy.PrefixID
	addr   netip.Addr
	state  policy.HealthState
	cost   policy.Cost
	device string
}

// repathLocked has the path manager look again if v, which was just published,
// differs in what matters to it from the View before.
func (d *Daemon) repathLocked(v *mam.View) {
	paths := d.paths.Load()
	if paths == nil {
		return
	}
	inputs := make([]pathInput, len(v.Prefixes))
	for i, p := range v.Prefixes {
		inputs[i] = pathInput{p.ID, p.Addr(), p.Health.State, p.Cost, v.Devices[p.ID]}
	}
	if v.Runner != d.pathRunner || !slices.Equal(inputs, d.pathInputs) {
		d.pathRunner, d.pathInputs = v.Runner, inputs
		paths.Changed()
	}
}

// reconfigured has the path manager ask a policy again that took a
// configuration string.
func (d *Daemon) reconfigured() {
	if paths := d.paths.Load(); paths != nil {
		paths.Changed()
	}
}

// MPTCP tells what is known of the host's MPTCP connections. The error wraps
// mptcp.ErrUnsupported if the kernel has none.
func (d *Daemon) MPTCP() (pathmanager.Snapshot, error) {
	o, err := pathmanager.OpenObserver(d.manager)
	if err != nil {
		return pathmanager.Snapshot{}, err
	}
	defer o.Close() //nolint:errcheck // only read
	return o.Snapshot(time.Now())
}
