package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/operator/decisionlog"
	"github.com/socket-intents/mamma/policies"
	"github.com/socket-intents/mamma/policy"
)

// kept is a recorded decision that its client would have kept as a lease.
type kept struct {
	request  *policy.Request
	decision policy.Decision
	uses     uint32
}

// answers tells whether the lease would have answered r. It follows the rules of
// doc/protocol.md, with recorded candidates and measurements in place of generations.
func (k *kept) answers(r *policy.Request) bool {
	l, q := &k.decision.Lease, k.request
	switch {
	case r.Now.Sub(q.Now) >= l.For, l.Uses > 0 && k.uses >= l.Uses:
		return false
	case r.Kind != q.Kind, r.Network != q.Network, r.Service != q.Service, r.Port != q.Port, r.Remote != q.Remote, r.App != q.App, r.Bound.IsValid():
		return false
	case r.Host != q.Host && !l.AnyName, !l.Alike(q.Intents, r.Intents), len(r.Sockets)+len(q.Sockets) > 0:
		return false
	}
	return slices.EqualFunc(q.Prefixes, r.Prefixes, func(a, b *policy.Prefix) bool {
		return a.ID == b.ID && a.Default == b.Default && a.Cost == b.Cost && a.Health.State == b.Health.State &&
			(!l.Measured || a.Stats == b.Stats && a.Link == b.Link)
	})
}

// leasesIn goes through a recording like a client that keeps leases. It counts the
// decisions, and those that a lease would have answered, and lists those that a lease would
// have answered differently.
func leasesIn(in io.Reader) (decisions, leased int, wrong []string, _ error) {
	reader := decisionlog.NewReader(in)
	var all []*kept
	for {
		e, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return decisions, leased, wrong, nil
		}
		if err != nil {
			return decisions, leased, wrong, err
		}
		decisions++
		i := slices.IndexFunc(all, func(k *kept) bool { return k.answers(e.Request) })
		if i < 0 {
			if e.Decision.Lease.For > 0 && !e.Decision.Race && !e.Request.Bound.IsValid() {
				all = append(all, &kept{request: e.Request, decision: e.Decision})
			}
			continue
		}
		leased++
		all[i].uses++
		if a, b := choiceOf("", all[i].request, all[i].decision), choiceOf("", e.Request, e.Decision); a.Prefix != b.Prefix || a.Refused != b.Refused || a.Multipath != b.Multipath || a.Resolver != b.Resolver {
			wrong = append(wrong, fmt.Sprintf("line %d: leased %+v, decided %+v", e.Line, a, b))
		}
	}
}

// busyHour makes a recording of programs that ask again and again while the networks of
// their host change.
func busyHour(t *testing.T, name string, seed uint64) []byte {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	var requests []*policy.Request
	now := start
	networks := []*policy.Prefix{
		network("wlan0", "192.168.0.23/24", 20*time.Millisecond, 5e6, true), network("wwan0", "10.64.3.9/10", 60*time.Millisecond, 2e6, false),
	}
	networks[0].Options = policy.Options{"category": policy.NewOption("query"), "maxfilesize": policy.NewOption("100000")}
	networks[1].Options = policy.Options{"category": policy.NewOption("bulktransfer"), "minfilesize": policy.NewOption("100001")}
	for range 1500 {
		now = now.Add(time.Duration(rng.ExpFloat64() * float64(20*time.Millisecond)))
		if rng.IntN(12) == 0 { // something is measured
			i := rng.IntN(len(networks))
			p := *networks[i]
			p.Stats.SRTTMin = time.Duration(5+rng.IntN(100)) * time.Millisecond
			p.Stats.SRTTMedian = p.Stats.SRTTMin + time.Millisecond
			p.Stats.Time, p.Stats.SampleTime, p.Link.Time = now, now, now
			p.Link.DownRate = policy.BytesPerSecond(rng.IntN(3) * 1e6)
			networks = slices.Clone(networks)
			networks[i] = &p
		}
		if rng.IntN(80) == 0 { // a network fails or returns
			i := rng.IntN(len(networks))
			p := *networks[i]
			p.Health.State = policy.Suspect - p.Health.State
			networks = slices.Clone(networks)
			networks[i] = &p
		}
		sizes := []int64{500, 5000, 90_000, 150_000, 20_000_000}
		r := request(0, intent.Category(rng.IntN(2)), sizes[rng.IntN(len(sizes))], networks...)
		r.Now, r.Host = now, []string{"www.example.net", "cdn.example.net"}[rng.IntN(2)]
		requests = append(requests, r)
	}
	return record(t, name, seed, requests...)
}

// The leases would have given the decisions that were made.
func TestLeasesOfRecordings(t *testing.T) {
	for _, name := range policies.All().Names() {
		if name == "score" {
			continue // has no rule
		}
		t.Run(name, func(t *testing.T) {
			total, leased := 0, 0
			for seed := range uint64(2) {
				n, l, wrong, err := leasesIn(bytes.NewReader(busyHour(t, name, seed)))
				if err != nil {
					t.Fatal(err)
				}
				total, leased = total+n, leased+l
				for _, w := range wrong[:min(len(wrong), 5)] {
					t.Error(w)
				}
			}
			t.Logf("%d of %d decisions by leases", leased, total)
			if granting := slices.Contains([]string{"sample", "intents", "filesize", "threshold", "earliest_arrival"}, name); granting && leased < total/20 {
				t.Errorf("%d of %d decisions go by leases", leased, total)
			}
		})
	}
}
