package datagrams

import (
	"math"
	"testing"
	"time"

	"github.com/socket-intents/mamma/intent"
	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

func request(s intent.Set, prefixes ...*policy.Prefix) *policy.Request {
	r := Request(policy.SocketConnect, prefixes...)
	r.Network.Transport = policy.Datagram
	r.Intents = s
	return r
}

func TestIsStream(t *testing.T) {
	stream := intent.Set{}.WithCategory(intent.CategoryStream)
	tcp := request(stream, A())
	tcp.Network.Transport = policy.Stream
	for _, tt := range []struct {
		name string
		r    *policy.Request
		want bool
	}{
		{"category", request(stream, A()), true},
		{"long", request(intent.Set{}.WithDuration(time.Minute), A()), true},
		{"just long enough", request(intent.Set{}.WithDuration(long), A()), true},
		{"short", request(intent.Set{}.WithDuration(time.Second), A()), false},
		{"of another category, and long", request(intent.Set{}.WithCategory(intent.CategoryBulkTransfer).WithDuration(time.Minute), A()), false},
		{"nothing is stated", request(intent.Set{}, A()), false},
		{"bound", Bind(request(stream, A()), A()), false},
		{"no prefix", request(stream), false},
		{"TCP", tcp, false},
	} {
		if got := IsStream(tt.r); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// A lease for datagrams must not hold for streams of them; one for TCP may hold for all.
func TestNarrow(t *testing.T) {
	none, stream, tcp := intent.Set{}, intent.Set{}.WithCategory(intent.CategoryStream), request(intent.Set{}, A())
	tcp.Network.Transport = policy.Stream
	for _, tt := range []struct {
		name string
		r    *policy.Request
		with intent.Set
		want bool
	}{
		{"a stream", request(none, A()), stream, false},
		{"a long flow", request(none, A()), none.WithDuration(time.Minute), false},
		{"other intents", request(none, A()), none.WithBitrateBitsPerSecond(1000), true},
		{"TCP", tcp, stream, true},
	} {
		l := policy.Lease{For: time.Second, Ignored: policy.AllIntentsBut()}
		Narrow(tt.r, &l)
		if got := l.Alike(none, tt.with); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// other is B in use, at the same distance as A.
func other(edits ...func(*policy.Prefix)) *policy.Prefix {
	return B(append([]func(*policy.Prefix){RTT(20, 25, 2)}, edits...)...)
}

func TestChoose(t *testing.T) {
	stream := intent.Set{}.WithCategory(intent.CategoryStream)
	video := stream.WithBitrateBitsPerSecond(4_000_000)
	unknown := Prefix("c", "10.0.3.2/24")
	toward := func(r *policy.Request, stats ...policy.PathStats) *policy.Request {
		r.DestStats = stats
		return r
	}
	seen := func(rtt, jitter time.Duration, loss float64) policy.PathStats {
		return policy.PathStats{Time: Now(), SampleTime: Now(), Conns: 1, SRTTMin: rtt, SRTTMedian: rtt, RTTVarMedian: jitter, LossUp: loss}
	}
	const ms = time.Millisecond
	for _, tt := range []struct {
		name     string
		r        *policy.Request
		capacity []policy.BytesPerSecond
		want     string
	}{
		{"equal: the default", request(stream, other(Quality(2, 0)), A(Quality(2, 0))), nil, "a"},
		{"nearly equal: the default", request(stream, other(RTT(10, 10, 1), Quality(2, 0)), A(RTT(60, 60, 1), Quality(2, 0))), nil, "a"},
		{"loss outweighs delay", request(stream, A(Quality(2, 0.03)), other(RTT(80, 80, 1), Quality(2, 0))), nil, "b"},
		{"loss outweighs rate", request(stream, A(Quality(2, 0.03)), other(Down(1000, 0), Quality(2, 0))), nil, "b"},
		{"jitter outweighs delay", request(stream, A(Quality(150, 0)), other(RTT(100, 100, 1), Quality(2, 0))), nil, "b"},
		{"a long delay", request(stream, A(RTT(500, 600, 1), Quality(2, 0)), other(Quality(2, 0))), nil, "b"},
		{"an unknown network is no better than a good one", request(stream, A(Quality(2, 0)), unknown), nil, "a"},
		{"but better than a bad one", request(stream, A(Quality(2, 0.1)), unknown), nil, "c"},
		{"nothing is known", request(stream, unknown, Prefix("d", "10.0.4.2/24")), nil, "c"},
		// When the last connection over a has ended, its loss is shown as 0.
		{"no use, no loss", request(stream, A(RTT(20, 20, 0), Quality(0, 0)), other(Quality(2, 0))), nil, "b"},
		{"what is configured needs no use", request(stream, other(Quality(2, 0.01)), A(RTT(20, 20, 0), Option("packet_loss_up_median", "0"), Option("srtt_var_median_within", "1ms"))), nil, "a"},
		{"what is configured as bad", request(stream, A(Quality(2, 0), Option("packet_loss_up_median", "0.05")), other(Quality(2, 0))), nil, "b"},
		{"lossy on the way to this destination", toward(request(stream, A(Quality(2, 0)), other(Quality(2, 0))), seen(25*ms, 2*ms, 0.04), policy.PathStats{}), nil, "b"},
		{"lossy on the way to others", toward(request(stream, A(Quality(2, 0.04)), other(Quality(2, 0))), seen(25*ms, 2*ms, 0), policy.PathStats{}), nil, "a"},
		{"suspect", request(stream, A(Quality(2, 0), Health(policy.Suspect)), other(Quality(2, 0.5))), nil, "b"},
		{"it does not fit", request(video, A(Quality(2, 0)), other(Quality(2, 0.01))), []policy.BytesPerSecond{250_000, 0}, "b"},
		{"it fits", request(video, A(Quality(2, 0)), other(Quality(2, 0))), []policy.BytesPerSecond{500_000, 5e6}, "a"},
		{"by size and duration", request(intent.Set{}.WithFileSize(50_000_000).WithDuration(100*time.Second), A(Quality(2, 0)), other(Quality(2, 0.01))), []policy.BytesPerSecond{250_000, 0}, "b"},
		{"a rate that nobody stated", request(stream, A(Quality(2, 0)), other(Quality(2, 0))), []policy.BytesPerSecond{10, 0}, "a"},
		{"odd settings", request(stream, A(Option("srtt_median_recent", "1e308"), Option("packet_loss_up_median", "-5")), other(Quality(2, 0))), nil, "b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !IsStream(tt.r) {
				t.Fatal("not a stream")
			}
			d := Choose(tt.r, func(i int) policy.BytesPerSecond {
				if i < len(tt.capacity) {
					return tt.capacity[i]
				}
				return 0
			})
			if err := Sound(tt.r, d); err != nil {
				t.Error(err)
			}
			if Name(d.Prefix) != tt.want || d.Reason != Reason || len(d.Alternates) != len(tt.r.Prefixes)-1 || d.Lease.For != 0 {
				t.Errorf("%s: %+v", Name(d.Prefix), d)
			}
			for i, s := range d.Scores {
				rating := s.Terms[len(s.Terms)-1].Value
				if (s.Note == "chosen") != (s.Prefix == d.Prefix) || !(rating >= 0 && rating < 94) || s.Prefix != tt.r.Prefixes[i] {
					t.Errorf("score %d: %+v", i, s)
				}
			}
		})
	}
}

// The rating of figures that are known is that of the E-model.
func TestRating(t *testing.T) {
	for _, tt := range []struct {
		f              figures
		need, capacity policy.BytesPerSecond
		least, most    float64
	}{
		{figures{0, 0, 0}, 0, 0, 93, 93.5},
		{figures{300, 0, 0}, 0, 0, 87, 91},                          // 150 ms
		{figures{100, 50, 0}, 0, 0, 87, 91},                         // the same
		{figures{0, 0, 0.01}, 0, 0, 89, 90},                         // 93.2 - 95/26.1
		{figures{0, 0, 0}, 100, 99, 89, 90},                         // the same
		{figures{0, 0, 0.5}, 100, 50, 21.5, 22.5},                   // 93.2 - 95*75/100.1
		{figures{math.NaN(), math.NaN(), math.NaN()}, 0, 0, 82, 86}, // the assumptions
		{figures{1e300, 1e300, 1e300}, 1, 1e-300, 0, 1},
	} {
		if got := tt.f.rating(tt.need, tt.capacity); !(got >= tt.least && got <= tt.most) {
			t.Errorf("%+v, needs %v of %v: %.1f, want %v to %v", tt.f, tt.need, tt.capacity, got, tt.least, tt.most)
		}
	}
}
