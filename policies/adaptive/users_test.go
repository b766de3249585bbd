package adaptive

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

// outcome is a decision, with the figures behind it.
type outcome struct {
	Prefix, Reason string
	Race           bool
	Predicted      []time.Duration
	RTTs           []float64
}

func outcomeOf(d policy.Decision) outcome {
	o := outcome{Prefix: d.Prefix.Interface, Reason: d.Reason, Race: d.Race}
	for _, s := range d.Scores {
		o.Predicted = append(o.Predicted, s.Predicted)
		for _, x := range s.Terms {
			if x.Name == "rtt" && !math.IsNaN(x.Value) {
				o.RTTs = append(o.RTTs, x.Value)
			}
		}
	}
	return o
}

// Whatever one user reports, other users' decisions do not change.
func TestReportsCountForTheirUserOnly(t *testing.T) {
	const honest, liar = 1000, 1001
	run := func(lies bool) (out []outcome) {
		p := Make(New)(t)
		observer := p.(policy.Observer)
		a, b := near(), far()
		clock := Request(open, a, b).Now
		ask := func(uid uint32, size int64) policy.Decision {
			clock = clock.Add(20 * time.Second) // the transfers under way are over
			r := Request(open, a, b)
			if size > 0 {
				r = Size(r, size)
			}
			r.Now, r.App.UID, r.Host, r.Port = clock, uid, "shared.example", 443
			return p.Choose(r)
		}
		report := func(uid uint32, d policy.Decision, x policy.Transfer) {
			x.App.UID, x.Token, x.Prefix, x.End = uid, d.Token, d.Prefix, clock.Add(time.Second)
			observer.Ended(&x)
		}
		for round := range 40 {
			if d := ask(liar, 0); lies { // the liar asks in both runs, because everybody may ask
				for range 3 { // only the first report ends a transfer; the others report round-trip times
					report(liar, d, policy.Transfer{Bytes: 1 << 40, Duration: 71 * time.Minute, RTT: time.Hour, MinRTT: time.Hour})
					report(liar, d, policy.Transfer{MinRTT: time.Duration(1+round%2*int(time.Hour)) * time.Microsecond})
				}
			}
			d := ask(honest, []int64{0, 1000, 300_000, 5_000_000}[round%4])
			out = append(out, outcomeOf(d))
			report(honest, d, policy.Transfer{Bytes: 20_000, Duration: 300 * time.Millisecond, RTT: 15 * time.Millisecond, MinRTT: 12 * time.Millisecond})
		}
		return out
	}
	if diff := cmp.Diff(run(false), run(true)); diff != "" {
		t.Errorf("with a liar (-without +with)\n%s", diff)
	}
}

// A user's own reports are kept while others report.
func TestUsersAreRemembered(t *testing.T) {
	p := Make(New)(t)
	a := near()
	rtt := func(uid uint32) float64 {
		r := Request(open, a)
		r.App.UID = uid
		return outcomeOf(p.Choose(r)).RTTs[0]
	}
	for uid := range uint32(maxUsers) {
		rtt(uid)
		p.(policy.Observer).Ended(&policy.Transfer{App: policy.App{UID: uid}, Prefix: a, MinRTT: time.Duration(uid+1) * time.Millisecond, End: Request(open, a).Now})
	}
	for uid := range uint32(maxUsers) {
		if got, want := rtt(uid), float64(uid+1); got != want {
			t.Errorf("user %d: a round-trip time of %v ms, want %v", uid, got, want)
		}
	}
	for uid := range uint32(4 * maxUsers) { // the number of users is bounded
		rtt(uid)
	}
	if n := p.(*Policy).users.Len(); n != maxUsers {
		t.Errorf("%d users are remembered", n)
	}
}

// The transfers of other users are not forgotten because one user asks for many.
func TestTransfersOfOthersAreKept(t *testing.T) {
	l := &link{}
	for i := range 3 {
		l.add(transfer{user: 1, token: uint64(i + 1), left: 10})
	}
	for range 3 * maxTransfers {
		l.add(transfer{user: 2, left: 1e15})
	}
	if n := l.count(1); n != 3 || len(l.transfers) != maxTransfers {
		t.Errorf("%d transfers of the other user are known, of %d", n, len(l.transfers))
	}
	// If one user has too many transfers, the smallest make room.
	for i := range maxTransfers {
		l.add(transfer{user: 2, left: float64(i)})
	}
	if n := l.count(1); n != 3 {
		t.Errorf("%d transfers of the other user are known", n)
	}
}
