package pathmanager

import (
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// known are connections of one user, all with the same figures.
type known struct {
	uid            uint32
	err            error
	sent, received uint64
}

func (k known) UID(mptcp.Token) (uint32, error) { return k.uid, k.err }

func (k known) Carried(mptcp.Token) (sent, received uint64, err error) {
	return k.sent, k.received, k.err
}

// An exchange begins with the connection, and with what is sent after a pause. An answer that
// comes slowly does not begin one, and time before the first look does not count for an
// older connection.
func TestCarried(t *testing.T) {
	const second = time.Second
	type look struct {
		at             time.Duration
		sent, received uint64
		want           policy.Progress
	}
	for name, tt := range map[string]struct {
		c     carried
		looks []look
	}{
		"from the beginning": {carried{begun: start, came: start, first: true}, []look{
			{second / 4, 100, 0, policy.Progress{Age: second / 4, Quiet: second / 4, Sent: 100, First: true}},
			{3 * second, 100, 500, policy.Progress{Age: 3 * second, Sent: 100, Received: 500, First: true}}, // a slow server
			{6 * second, 100, 600, policy.Progress{Age: 6 * second, Sent: 100, Received: 600, First: true}}, // a slow network
			{8 * second, 150, 600, policy.Progress{Age: 2 * second, Quiet: 2 * second, Sent: 50}},           // at some time since the last look
			{9 * second, 150, 900, policy.Progress{Age: 3 * second, Sent: 50, Received: 300}},
			{9500 * time.Millisecond, 250, 900, policy.Progress{Age: 3500 * time.Millisecond, Quiet: second / 2, Sent: 150, Received: 300}},
		}},
		"an older one": {carried{}, []look{
			{second, 1000, 5000, policy.Progress{}},
			{2 * second, 1000, 6000, policy.Progress{Age: second, Received: 1000}},
			{4 * second, 1001, 6000, policy.Progress{Age: 2 * second, Quiet: 2 * second, Sent: 1}},
		}},
	} {
		for _, l := range tt.looks {
			if got := tt.c.look(l.sent, l.received, start.Add(l.at)); got != l.want {
				t.Errorf("%s, after %v: %+v, want %+v", name, l.at, got, l.want)
			}
		}
	}
}

// hedger is a policy that keeps networks back until more than 5 s have passed.
type hedger struct{ chooser }

func (h *hedger) Late(r *policy.SubflowRequest) bool { return r.Progress.Age > 5*time.Second }

func (h *hedger) ChooseSubflows(r *policy.SubflowRequest) []policy.Subflow {
	return []policy.Subflow{{Prefix: eth, Backup: !r.Late || r.Progress.Age == 0}}
}

// A late connection gets the other network, and one over which nothing comes any more is not
// asked about.
func TestWatch(t *testing.T) {
	s, h, k := steer(wlan, eth)
	if s.watches() {
		t.Error("a policy without hedging is asked")
	}
	h.runner = mam.NewRunner("hedger", &hedger{}, quiet)
	h.set(wlan, eth)
	if s.watches() {
		t.Error("nothing is to be watched")
	}
	s.handle(created, start)
	// Its client's report may come yet, so the policy does not know the request.
	s.handle(established, start)
	s.watch(start.Add(reportWait - 1))
	k.check(t)
	s.watch(start.Add(reportWait))
	k.check(t, "create 1: 1 10.3.0.2 -> 192.0.2.1:80 backup")
	joined := joinedEth
	joined.Backup = true
	s.handle(joined, start)
	if !s.watches() {
		t.Error("nothing is watched")
	}
	figures := known{sent: 100}
	for i, came := range []uint64{1000, 2000, 3000} { // by 4.5 s
		figures.received = came
		s.hosts = figures
		s.watch(start.Add(time.Duration(i+1) * 1500 * time.Millisecond))
	}
	k.check(t)
	s.watch(start.Add(20 * time.Second)) // nothing has come
	k.check(t)
	figures.received = 4000
	s.hosts = figures
	s.watch(start.Add(21 * time.Second))
	k.check(t, "flags 1: 10.3.0.2:5000 -> 192.0.2.1:80 ")
	s.watch(start.Add(22 * time.Second))
	k.check(t)
	s.hosts = known{err: errRefused} // it has just ended
	s.watch(start.Add(23 * time.Second))
	k.check(t)
}
