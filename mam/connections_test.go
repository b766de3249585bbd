package mam

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/testing/unmapped"
	"github.com/socket-intents/mamma/policy"
)

// headcount is a Connections of one network. It knows a number for each user and none
// for programs.
type headcount struct {
	id    policy.PrefixID
	users map[uint32]int
}

func (h headcount) Count(buf []policy.Connections, prefixes []*policy.Prefix, app policy.App) []policy.Connections {
	for _, p := range prefixes {
		var c policy.Connections
		if p.ID == h.id {
			c.User = h.users[app.UID]
		}
		buf = append(buf, c)
	}
	return buf
}

// counting is a policy that notes the numbers of connections that it is told.
type counting struct{ said []string }

func (c *counting) Choose(r *policy.Request) policy.Decision {
	for _, p := range r.Prefixes {
		n, known := r.ConnectionsOn(p)
		c.said = append(c.said, fmt.Sprint(p.Interface, " ", n.User, " ", known))
	}
	return takeFirst(r)
}

func (c *counting) ConnectionEnded(x *policy.Connection) {
	over := "nowhere"
	if x.Prefix != nil {
		over = x.Prefix.Interface
	}
	c.said = append(c.said, fmt.Sprint("ended ", x.Token, " ", over))
}

// A policy is told how many connections the asking user has on each network, if
// somebody counts and the user is known.
func TestConnectionsOfWhoAsks(t *testing.T) {
	p := &counting{}
	v := host(p)
	uid := uint32(os.Geteuid())
	v.Connections = headcount{v.Prefixes[1].ID, map[uint32]int{uid: 3}}
	d := start(t, v, Options{})
	c := d.dial(t)
	said := func(want ...string) {
		t.Helper()
		_, _ = v.Runner.call(nil, func(policy.Policy) {}) // nothing is under way any more
		if diff := cmp.Diff(want, p.said); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		p.said = nil
	}
	c.ask(connectTo("192.0.2.1:80"))
	said("wlan0 0 true", "wwan0 3 true")

	rq := &request{}
	q := Question{Kind: policy.Connect, Remote: sockAddr("192.0.2.1:80").AddrPort}
	for _, app := range []policy.App{{}, {UID: uid + 1, PID: 1}} {
		rq.fill(q.message(), q.Kind, app, v, time.Now())
		p.Choose(&rq.asked)
	}
	said("wlan0 0 false", "wwan0 0 false", "wlan0 0 true", "wwan0 0 true")

	ended := policy.Connection{Token: 7}
	d.ConnectionEnded(ended, v.Prefixes[1].ID, v.Runner.self)
	d.ConnectionEnded(ended, v.Prefixes[1].ID, host(p).Runner.self) // as after a reload
	d.ConnectionEnded(ended, policy.PrefixID{}, v.Runner.self)
	said("ended 7 wwan0", "ended 0 wwan0", "ended 7 nowhere")

	v2 := host(p)
	d.Publish(v2) // nobody counts now
	c.ask(connectTo("192.0.2.1:80"))
	said("wlan0 0 false", "wwan0 0 false")
}

// Users whom the kernel does not tell apart have no connections of their own.
func TestConnectionsOfNobody(t *testing.T) {
	unmapped.Run(t, func(t *testing.T) {
		p := &counting{}
		v := host(p)
		v.Connections = headcount{v.Prefixes[0].ID, map[uint32]int{unmapped.UID: 3}}
		v.prepare()
		rq := &request{}
		q := Question{Kind: policy.Connect, Remote: sockAddr("192.0.2.1:80").AddrPort}
		rq.fill(q.message(), q.Kind, policy.App{UID: unmapped.UID, PID: 9}, v, time.Now())
		if p.Choose(&rq.asked); p.said[0] != "wlan0 0 false" {
			t.Errorf("%q", p.said)
		}
	})
}
