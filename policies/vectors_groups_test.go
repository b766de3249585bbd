package policies

import (
	"encoding/json"
	"math"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/intent"
	countconns "github.com/socket-intents/mamma/policies/earliest_arrival_countconns"
	probabilities "github.com/socket-intents/mamma/policies/earliest_arrival_probabilities"
	"github.com/socket-intents/mamma/policies/internal/arrival"
	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policies/internal/shape"
	selective "github.com/socket-intents/mamma/policies/mptcp_selective"
	"github.com/socket-intents/mamma/policies/video"
	"github.com/socket-intents/mamma/policy"
	"github.com/socket-intents/mamma/policy/policytest"
)

func newPolicy(t testing.TB, name string, settings ...string) policy.Policy {
	t.Helper()
	cfg := config(name)
	cfg.Settings = append(cfg.Settings, policytest.Settings(`policy "`+name+`"`, settings...)...)
	p, err := All().New(name, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func runSlowStart(t *testing.T, v vector) {
	got := predict.NewConnection(v.Inputs.Filesize, policy.BytesPerSecond(v.Inputs.Bandwidth), predict.Millis(v.Inputs.RTT), v.Inputs.TLS)
	check(t, "time", float64(got.Time), v.Expect.Time)
	check(t, "rate", float64(got.Rate), v.Expect.FinalRate)
	if got.Rounds != v.Expect.Rounds || got.Limit != v.Expect.Limit || got.Rest != v.Expect.Rest {
		t.Errorf("got %+v, want %+v", got, v.Expect)
	}
}

func runReuse(t *testing.T, v vector) {
	got := predict.ReusedConnection(v.Inputs.Filesize, policy.BytesPerSecond(v.Inputs.Bandwidth), predict.Millis(v.Inputs.RTT))
	check(t, "time", float64(got), v.Expect.Time)
}

func runPredict(t *testing.T, v vector) {
	p := policytest.Prefix("a", "10.0.1.2/24")
	for key, value := range v.Inputs.PrefixMetrics {
		measure(t, p, key, value)
	}
	m, _ := policy.ParseMetric(v.Inputs.RTTKey)
	got := predict.Completion(v.Inputs.Filesize, policy.BytesPerSecond(v.Inputs.FreeCapacity), predict.Millis(predict.Value(m, p)), v.Inputs.Reuse > 0, v.Inputs.TLS)
	check(t, "time", float64(got), v.Expect.Time)
}

func runCapacity(t *testing.T, v vector) {
	highest, rate := policy.BytesPerSecond(v.Inputs.MaxRate), policy.BytesPerSecond(v.Inputs.Rate)
	var got policy.BytesPerSecond
	switch v.Group {
	case "free_capacity":
		got = predict.Shared(highest, rate, v.Inputs.Conns)
	case "free_capacity_freeorbusy":
		got = predict.FreeOrBusy(highest, rate, v.Inputs.Conns)
	case "free_capacity_countconns":
		got = predict.Counted(highest, v.Inputs.Count+v.Inputs.CountSmall)
	}
	check(t, "capacity", float64(got), v.Expect.Capacity)
}

// The vectors look up a key that has a value of the prefix, of the interface, or of
// both. Here each metric belongs to one of the two, and only the configuration takes
// precedence.
func runLookup(t *testing.T, v vector) {
	p := policytest.Prefix("a", "10.0.1.2/24")
	if value, ok := v.Inputs.PrefixMetrics[v.Inputs.Key]; ok {
		p.Options = policy.Options{policy.MetricDownRate.String(): {Number: float64(value), Numeric: true}}
	}
	if value, ok := v.Inputs.IfaceMetrics[v.Inputs.Key]; ok {
		p.Link.DownRate = policy.BytesPerSecond(value)
	}
	check(t, "value", predict.Value(policy.MetricDownRate, p), v.Expect.Value)
}

func runChooser(t *testing.T, v vector) {
	list, _ := v.Inputs.build(t)
	m, _ := policy.ParseMetric(v.Inputs.Key)
	var got *policy.Prefix
	switch v.Group {
	case "lowest_srtt":
		got = predict.LowestRTT(list, m)
	case "highest_capacity":
		got = predict.HighestCapacity(list, m)
	case "lowest_capacity":
		fallback, _ := policy.ParseMetric(v.Inputs.FallbackKey)
		got = predict.LowestCapacity(list, m, fallback)
	}
	v.Expect.chosen(t, policy.Decision{Prefix: got, Reason: "-"})
}

func runPick(t *testing.T, v vector) {
	list, byName := v.Inputs.build(t)
	r := v.Inputs.request(t, list)
	inUse := make([]bool, len(r.Sockets))
	got := []int32{}
	for {
		s := shape.Pick(r, byName[v.Inputs.Prefix], v.Inputs.RequestMPTCP != 0, inUse)
		if s == nil {
			break
		}
		got = append(got, s.FD)
		for i := range r.Sockets {
			inUse[i] = inUse[i] || &r.Sockets[i] == s
		}
	}
	if diff := cmp.Diff(v.Expect.FDs, got); diff != "" {
		t.Errorf("sockets (-want +got):\n%s", diff)
	}
}

// family is the interface of the policies that embed an arrival.Base.
type family interface {
	policy.Policy
	Candidates() []arrival.Candidate
	Result() arrival.Result
}

func runArrival(t *testing.T, v vector) {
	name := map[string]string{
		"free_or_busy": "earliest_arrival_free_or_busy", "countconns": "earliest_arrival_countconns", "probabilities": "earliest_arrival_probabilities",
	}[v.Group]
	if name == "" {
		name = v.Group
	}
	list, byName := v.Inputs.build(t)
	r := v.Inputs.request(t, list)
	p := newPolicy(t, name).(family)
	var counts *arrival.Counts
	switch p := p.(type) {
	case *probabilities.Policy:
		p.Random = func() float64 { return float64(v.Inputs.Random) }
		counts = p.Counts
	case *countconns.Policy:
		counts = p.Counts
	}
	for _, x := range v.Inputs.Prefixes {
		if counts != nil {
			s := arrival.State{Big: x.State.Count, BigBefore: x.State.CountPrev, Small: x.State.CountSmall, Reuse: x.State.ReusePrev}
			counts.Set(byName[x.Name].ID, s, r.App, x.State.SocketsSmall, x.State.SocketsBig)
		}
	}
	d := p.Choose(r)
	v.Expect.chosen(t, d)
	v.Expect.log(t, p, r, d)
	for _, c := range p.Candidates() {
		want, given := v.Expect.Predicted[c.Prefix.Interface]
		if given {
			check(t, "predicted time of "+c.Prefix.Interface, float64(c.Time), want)
		}
	}
	for name, want := range v.Expect.State {
		got := counts.State(byName[name].ID)
		reuse := want.ReusePrev
		if want.Reuse > 0 && d.Prefix == byName[name] {
			reuse-- // the bookkeeping after the choice has done this
		}
		if diff := cmp.Diff(arrival.State{Big: want.Count, BigBefore: want.CountPrev, Small: want.CountSmall, Reuse: reuse}, got); diff != "" {
			t.Errorf("state of %s (-want +got):\n%s", name, diff)
		}
	}
}

// The vectors call the function that chooses. The state of a prefix says whether one of
// its sockets can be reused. The log is what a connect appends.
func runVideo(t *testing.T, v vector) {
	var settings []string
	if v.Inputs.Pessimist {
		settings = []string{"be_pessimist=true"}
	}
	p := newPolicy(t, "video", settings...).(*video.Policy)
	list, byName := v.Inputs.build(t)
	r := v.Inputs.request(t, list)
	for i, x := range v.Inputs.Prefixes {
		p.SetNotPicked(byName[x.Name].ID, x.State.NotPicked)
		for range x.State.Reuse {
			r.Sockets = append(r.Sockets, policy.Socket{FD: int32(10 + i), Local: list[i].Addr(), Prefix: list[i]})
		}
	}
	r.Intents = r.Intents.With(intent.OptBitrate, v.Inputs.Bitrate).With(intent.OptDuration, v.Inputs.Duration)
	if v.Inputs.Category >= 0 {
		r.Intents = r.Intents.With(intent.OptCategory, v.Inputs.Category)
	}
	d := p.Choose(r)
	v.Expect.chosen(t, d)
	v.Expect.log(t, p, r, d)
	for _, s := range d.Scores {
		for window, want := range v.Expect.LoadTimes[s.Prefix.Interface] {
			got := loadTime(s, window)
			if unknown := math.IsNaN(got); unknown != (want >= number(predict.Unknown)) || !unknown && !same(got, want) {
				t.Errorf("%s load time of %s = %v, want %v", window, s.Prefix.Interface, got, want)
			}
		}
	}
	if len(d.Scores) < len(v.Expect.LoadTimes) {
		t.Errorf("%d scores for %d load times", len(d.Scores), len(v.Expect.LoadTimes))
	}
	for name, want := range v.Expect.NotPicked {
		if got := p.NotPicked(byName[name].ID); got != want {
			t.Errorf("%s was not picked %d times, want %d", name, got, want)
		}
	}
}

// loadTime returns the load time that a score has for a window of the vectors. It is
// NaN if the time is unknown, and 0 if the score has none.
func loadTime(s policy.Score, window string) float64 {
	name := map[string]string{"short": "by 1 s", "mid": "by 10 s", "long": "by 1 min", "longlong": "by 10 min"}[window]
	for _, term := range s.Terms {
		if term.Name == name {
			return term.Value
		}
	}
	return 0
}

// runSelective does the same as runVideo. The file size is that of the segment.
func runSelective(t *testing.T, v vector) {
	p := newPolicy(t, "mptcp_selective").(*selective.Policy)
	list, byName := v.Inputs.build(t)
	r := v.Inputs.request(t, list)
	for _, x := range v.Inputs.Prefixes {
		p.SetCount(byName[x.Name].ID, x.State.Count)
	}
	d := p.Decide(r, intent.Category(v.Inputs.Category), v.Inputs.Filesize, v.Inputs.Duration)
	v.Expect.chosen(t, d)
	v.Expect.log(t, p, r, d)
	if d.Multipath != *v.Expect.MPTCP {
		t.Errorf("Multipath = %v", d.Multipath)
	}
	for name, want := range v.Expect.Count {
		if got := p.Count(byName[name].ID); got != want {
			t.Errorf("count of %s = %d, want %d", name, got, want)
		}
	}
}

// runCallback runs whole callbacks. No prefix has a resolver of its own, so asking the
// chosen prefix means asking the default resolver.
func runCallback(t *testing.T, v vector) {
	name := v.Group
	if name == "mptcp_selective_callback" {
		name = "mptcp_selective"
	}
	p := newPolicy(t, name)
	list, _ := v.Inputs.build(t)
	r := v.Inputs.request(t, list)
	d := p.Choose(r)
	if d.Reason == "" {
		t.Error("no reason")
	}
	v.Expect.log(t, p, r, d)

	action := map[policy.Kind]string{policy.Connect: "connect_resp", policy.SocketConnect: "socketconnect_resp", policy.SocketChoose: "socketchoose_resp_new"}[r.Kind]
	var suggested *netip.Addr
	switch {
	case d.Socket != nil:
		action, suggested = "socketchoose_resp_existing", &d.Socket.Local
	case d.Prefix != nil:
		a := d.Prefix.Addr()
		suggested = &a
	}
	if v.Expect.ReplyAction != "" && action != v.Expect.ReplyAction {
		t.Errorf("answer %s, want %s", action, v.Expect.ReplyAction)
	}
	var want *netip.Addr
	if err := json.Unmarshal(v.Expect.Suggested, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, suggested, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
		t.Errorf("suggested address (-want +got):\n%s", diff)
	}
	if v.Expect.MPTCP != nil && d.Multipath != *v.Expect.MPTCP {
		t.Errorf("Multipath = %v", d.Multipath)
	}
	if v.Expect.FD != nil && (d.Socket == nil || d.Socket.FD != *v.Expect.FD) {
		t.Errorf("reused %v, want descriptor %d", d.Socket, *v.Expect.FD)
	}
	if v.Expect.Resolves && d.Resolution == policy.ResolveNever {
		t.Error("the name is not resolved")
	}
	if v.Expect.DefaultDNS != nil && d.Resolution == policy.ResolveNever {
		t.Error("no resolver is asked")
	}
}

// rotating returns the prefixes of a list of addresses.
func (in inputs) rotating() []*policy.Prefix {
	var list []*policy.Prefix
	for _, a := range in.PrefixOrder {
		list = append(list, policytest.Prefix(a, a+"/24"))
	}
	return list
}

func runRoundRobin(t *testing.T, v vector) {
	kind, name := policy.Connect, "rr_naive"
	if v.Group == "rr_pipelining_connect" {
		kind, name = policy.SocketConnect, "rr_pipelining"
	}
	p := newPolicy(t, name)
	var want []string
	if err := json.Unmarshal(v.Expect.Suggested, &want); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range v.Inputs.Requests {
		got = append(got, policytest.Name(p.Choose(policytest.Request(kind, v.Inputs.rotating()...)).Prefix))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("suggested (-want +got):\n%s", diff)
	}
}

func runRoundRobinSockets(t *testing.T, v vector) {
	p := newPolicy(t, "rr_pipelining")
	for i, step := range v.Inputs.Steps {
		r := policytest.Request(policy.SocketChoose, v.Inputs.rotating()...)
		for _, fd := range step.Sockets {
			r.Sockets = append(r.Sockets, policy.Socket{FD: fd})
		}
		d, want := p.Choose(r), v.Expect.Results[i]
		if got := policytest.AnswerOf(d); got.FD != want.FD || want.FD == 0 && got.Prefix != want.New {
			t.Errorf("step %d: got %+v, want %+v", i, got, want)
		}
	}
}
