package scopes

import (
	"sync"

	"github.com/socket-intents/mamma/internal/scopes/hook"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// downs tells the kernel which networks are down. It does so with one write, before the policy
// is asked again about thousands of answers, one after the other. The kernel follows the
// alternates of the answers meanwhile. The methods are safe for concurrent use.
type downs struct {
	mu      sync.Mutex
	table   *hook.Table // nil: none is loaded
	down    map[policy.PrefixID]bool
	numbers map[policy.PrefixID]hook.Network
	told    [hook.MaxNetworks]bool
}

// use declares that the programs of t are to be told from now on; nil: nobody is.
func (d *downs) use(t *hook.Table) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.table, d.numbers, d.told = t, map[policy.PrefixID]hook.Network{}, [hook.MaxNetworks]bool{}
	if t == nil {
		return nil
	}
	return t.SetDown(&d.told)
}

// published takes every View. A network that a View lacks has gone, so nothing can be bound to
// it any more.
func (d *downs) published(v *mam.View) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = make(map[policy.PrefixID]bool, len(v.Prefixes))
	for _, p := range v.Prefixes {
		d.down[p.ID] = p.Health.State == policy.Down
	}
	now := [hook.MaxNetworks]bool{}
	for id, n := range d.numbers {
		down, there := d.down[id]
		now[n] = down || !there
	}
	return d.tell(&now)
}

func (d *downs) tell(now *[hook.MaxNetworks]bool) error {
	if d.table == nil || d.told == *now {
		return nil
	}
	if err := d.table.SetDown(now); err != nil {
		return err
	}
	d.told = *now
	return nil
}

// number returns the number of a network in answers. It is 0 if no number is left. Then the
// network counts as up until the policy has been asked again.
func (d *downs) number(p *policy.Prefix) hook.Network {
	if p == nil {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if n, ok := d.numbers[p.ID]; ok || d.table == nil {
		return n
	}
	var used [hook.MaxNetworks]bool
	for _, n := range d.numbers {
		used[n] = true
	}
	for n := 1; n < hook.MaxNetworks; n++ {
		if used[n] {
			continue
		}
		now := d.told
		now[n] = d.down[p.ID] // a network of a View that is yet to be published is not down
		if d.tell(&now) != nil {
			return 0
		}
		d.numbers[p.ID] = hook.Network(n)
		return hook.Network(n)
	}
	return 0
}

// forget takes the numbers back of networks that have gone. No answer may be about them any
// more.
func (d *downs) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.numbers {
		if _, there := d.down[id]; !there {
			delete(d.numbers, id)
		}
	}
}
