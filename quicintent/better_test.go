package quicintent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/socket-intents/mamma/client"
)

// A connection leaves for a better network only if the program wants that, if that
// network works and costs no more, and if it has been better for some seconds on end.
func TestBetter(t *testing.T) {
	told := func(better bool, change func(*client.Path)) client.Path {
		p := client.Path{Better: better, Network: client.Network{Interface: "wlan0", Cost: client.CostMetered}}
		p.Best = p.Network
		if better {
			p.Best.Interface = "wwan0"
		}
		if change != nil {
			change(&p)
		}
		return p
	}
	better, same := told(true, nil), told(false, nil)
	for _, tt := range []struct {
		name   string
		stay   bool // MoveToBetter is not set
		states []client.Path
		every  time.Duration // between two states
		moves  bool
	}{
		{name: "for long enough", states: []client.Path{better}, moves: true},
		{name: "the program does not want it", stay: true, states: []client.Path{better}},
		{name: "no better one", states: []client.Path{same}},
		{name: "heard of again and again", states: []client.Path{better, better, better, better}, every: time.Second, moves: true},
		{name: "better now and then", states: []client.Path{better, same, better, same, better, same}, every: 4 * time.Second},
		{name: "it costs more", states: []client.Path{told(true, func(p *client.Path) { p.Best.Cost = client.CostExpensive })}},
		{name: "it costs less", states: []client.Path{told(true, func(p *client.Path) { p.Best.Cost = client.CostFree })}, moves: true},
		{name: "it is in doubt", states: []client.Path{told(true, func(p *client.Path) { p.Best.State = client.NetworkSuspect })}},
		{name: "it comes to cost more", states: []client.Path{better, told(true, func(p *client.Path) { p.Best.Cost = client.CostExpensive })}, every: settled - 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := simulate(t, 20*time.Millisecond, 20*time.Millisecond)
				m := &mover{dialer: &Dialer{MoveToBetter: !tt.stay}, conn: s.near, now: &path{socket: &socket{silence: newSilence(time.Now())}}}
				for i, p := range tt.states {
					if i > 0 {
						time.Sleep(tt.every)
					}
					m.state = p
					m.noteBetter(time.Now())
				}
				since := time.Duration(len(tt.states)-1) * tt.every
				if since < settled {
					if r := m.reason(time.Now()); r.why != "" {
						t.Errorf("%q after %v", r.why, since)
					}
				}
				wait := m.wait(time.Now())
				if tt.moves != (wait <= settled) {
					t.Errorf("looks again after %v", wait)
				}
				time.Sleep(settled)
				if r := m.reason(time.Now()); (r.why == "wwan0 is better") != tt.moves || r.guess || r.silent {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}
