package simulate

import (
	"math"
	"testing"
	"time"

	"github.com/socket-intents/mamma/policy"
	"github.com/socket-intents/mamma/tests/evaluate/player"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

// Under random loss, TCP gets about the rate of Mathis et al. (CCR 1997), here with
// CUBIC's gentler reaction.
func TestLoss(t *testing.T) {
	const size = 10_000_000
	p := Path{Mbps: 100, RTT: 50 * ms, Loss: 0.01}
	took := host(t, Net(1), true, p).Fetch(size).Seconds()
	mathis := segment / 0.05 * math.Sqrt(1.5/0.01)
	if rate := size / took; rate < 0.7*mathis || rate > 2*mathis {
		t.Errorf("%.0f bytes per second, %.0f expected", rate, mathis)
	}
}

// Other hosts' traffic leaves less of a link. Only this host's own traffic is counted.
func TestTraffic(t *testing.T) {
	for _, own := range []bool{false, true} {
		h := host(t, Net(1), true, Path{Mbps: 10, RTT: 20 * ms})
		stop := h.Start(Traffic{Mbps: 5, Own: own})
		took := h.Fetch(5_000_000)
		if took < 7*time.Second || took > 10*time.Second {
			t.Errorf("5 MB beside 5 of 10 Mbit/s took %v", took)
		}
		if got := h.Received()[0]; (got > 8_000_000) != own {
			t.Errorf("own %v: %d bytes are counted", own, got)
		}
		stop()
		if took := h.Fetch(5_000_000); took > 5*time.Second {
			t.Errorf("alone it took %v", took)
		}
	}
	h := host(t, Net(1), true, Path{Mbps: 10, RTT: 20 * ms})
	h.Start(Traffic{Flows: 3, Own: true})
	h.Idle(5 * time.Second)
	if took := h.Fetch(1_000_000); took < 2*time.Second || took > 15*time.Second {
		t.Errorf("1 MB beside three others took %v", took)
	}
	h.Idle(time.Second)
	if n := h.measures[0].prefix.Stats.Conns; n != 3 {
		t.Errorf("%d connections are measured", n)
	}
}

// Two paths behind one link are together no faster than one.
func TestShared(t *testing.T) {
	h := host(t, RoundRobin(), true, Path{Mbps: 10, RTT: 20 * ms}, Path{RTT: 40 * ms, Behind: 1})
	left := 2
	for i := range 2 {
		h.dial(0, i, false).get(2_500_000, func() { left-- })
	}
	begun := h.Now()
	h.run(never, func() bool { return left == 0 })
	if took := h.Now() - begun; took < 4*time.Second || took > 6*time.Second {
		t.Errorf("5 MB took %v", took)
	}
}

// steady is a policy that names its networks in order, and records what it is told.
type steady struct {
	race     bool
	ended    []policy.Transfer
	measured int
}

func (s *steady) Choose(r *policy.Request) policy.Decision {
	return policy.Decision{Prefix: r.Prefixes[0], Alternates: r.Prefixes[1:], Race: s.race, Token: 7, Scores: []policy.Score{{Prefix: r.Prefixes[0], Predicted: time.Second}}}
}
func (s *steady) Measured([]*policy.Prefix, time.Time) { s.measured++ }
func (s *steady) Ended(t *policy.Transfer)             { s.ended = append(s.ended, *t) }

// A network that does not answer delays a connection for a limited time. The policy is
// told what came.
func TestRace(t *testing.T) {
	for _, race := range []bool{false, true} {
		p := &steady{race: race}
		s := With("steady", func(policy.Config) (policy.Policy, error) { return p, nil })
		h := host(t, s, true, Path{Mbps: 10, RTT: 20 * ms, Loss: 1}, Path{Mbps: 10, RTT: 40 * ms})
		took := h.Fetch(1000)
		h.Idle(time.Second)
		least := paceUnknown
		if race {
			least = 0
		}
		if took < least+80*ms || took > least+100*ms {
			t.Errorf("race %v: it took %v", race, took)
		}
		if len(p.ended) != 1 || p.measured == 0 {
			t.Fatalf("%d transfers, %d measurements", len(p.ended), p.measured)
		}
		e := p.ended[0]
		if e.Prefix.Interface != "net2" || e.Token != 7 || e.Bytes != segment || e.Duration != took || e.MinRTT/ms != 40 {
			t.Errorf("race %v: told %+v", race, e)
		}
	}
	// The policy is also told of the slower handshake of a race.
	p := &steady{race: true}
	s := With("steady", func(policy.Config) (policy.Policy, error) { return p, nil })
	h := host(t, s, true, Path{Mbps: 10, RTT: 200 * ms}, Path{Mbps: 10, RTT: 40 * ms})
	h.Fetch(1000)
	h.Idle(time.Second)
	if len(p.ended) != 2 || p.ended[1].Bytes != 0 || p.ended[1].Connect/ms != 200 {
		t.Errorf("told %+v", p.ended)
	}
}

func TestKeep(t *testing.T) {
	p := workload.P1()
	h, err := NewHost(Config{Paths: []Path{{Mbps: 10, RTT: 100 * ms}}, Scheme: Net(1), Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	first := h.Load(&p)
	if second := h.Load(&p); second > first-100*ms || len(h.conns) == 0 {
		t.Errorf("first %v, second %v over connections kept", first, second)
	}
}

func TestFollow(t *testing.T) {
	h := host(t, Net(1), true, Path{Mbps: 1, RTT: 20 * ms})
	h.Follow(0, Path{}, []float64{1, 9})
	if took := h.Fetch(5_000_000); took < 7*time.Second || took > 11*time.Second {
		t.Errorf("40 Mbit took %v at 5 Mbit/s in the mean", took)
	}
}

// Over a fast enough link, a film is as good as the player allows. Over a slower link
// it is worse.
func TestFilm(t *testing.T) {
	v := workload.V()
	v.Length = time.Minute
	score := func(mbps float64) player.Judgement {
		h := host(t, Net(1), true, Path{Mbps: mbps, RTT: 20 * ms})
		return h.Watch(&v, player.BufferBased)
	}
	good, fair, bad := score(20), score(1.2), score(0.1)
	if good.Stalled > 0 || good.MOS < 3 || fair.MOS > good.MOS-0.5 || bad.MOS > 1.2 {
		t.Errorf("good %+v\nfair %+v\nbad %+v", good, fair, bad)
	}
}
