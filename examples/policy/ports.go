// Command ports is a policy for mamma, built as a plugin. Connections to the given
// ports leave by the given interface, all others by the default prefix.
//
// A plugin is a package main that exports New. It needs only the package policy of
// mamma and, if it reads intents, the package intent.
package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/socket-intents/mamma/policy"
)

// options are the settings of the policy's block in the configuration.
type options struct {
	Ports     []string `mam:"ports"`
	Interface string   `mam:"interface"`
}

// ports is the policy. Its settings are its only state.
type ports struct {
	through string
	ports   map[uint16]bool
}

var _ policy.Policy = (*ports)(nil)

// New makes the policy. The manager calls it when it reads the configuration. If New
// fails, the previous policy stays in use.
func New(c policy.Config) (policy.Policy, error) {
	var o options
	if err := c.Decode(&o); err != nil {
		return nil, err
	}
	if o.Interface == "" || len(o.Ports) == 0 {
		return nil, errors.New(`both settings are needed, for instance ports = [22, 5060] and interface = "wwan0"`)
	}
	p := &ports{through: o.Interface, ports: map[uint16]bool{}}
	for _, text := range o.Ports {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("ports: %q is not a port number", text)
		}
		p.ports[uint16(n)] = true
	}
	return p, nil
}

// Choose sends listed ports through the interface. The other candidates follow
// as alternates, so that a dead link costs time and not the connection.
func (p *ports) Choose(r *policy.Request) policy.Decision {
	port := r.Port
	if !p.ports[port] {
		return byDefault(r, fmt.Sprintf("port %d is not listed", port))
	}
	var d policy.Decision
	for _, candidate := range r.Prefixes {
		if d.Prefix == nil && candidate.Interface == p.through && candidate.Health.State != policy.Down {
			d.Prefix = candidate
		} else {
			d.Alternates = append(d.Alternates, candidate)
		}
	}
	if d.Prefix == nil {
		return byDefault(r, fmt.Sprintf("port %d belongs to %s, which is not usable", port, p.through))
	}
	d.Reason = fmt.Sprintf("port %d goes by %s", port, p.through)
	return d
}

// byDefault decides for the default prefix. Without one there is no preference.
func byDefault(r *policy.Request, reason string) policy.Decision {
	return policy.Decision{Prefix: r.DefaultPrefix(), Reason: reason}
}

// main is never called in a plugin.
func main() {}
