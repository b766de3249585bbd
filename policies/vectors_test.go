package policies

import (
	"encoding/json"
	"math"
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	"github.com/socket-intents/mamma/policy/policytest"
)

// The vectors were made by running the original. Where the original is wrong, they say
// what a port should do (doc/original/policies.md section 0).

// number is a number in the vectors. "DBL_MAX" is the largest float64.
type number float64

func (n *number) UnmarshalJSON(b []byte) error {
	if string(b) == `"DBL_MAX"` {
		*n = math.MaxFloat64
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

type vector struct {
	ID     string
	Group  string
	Inputs inputs
	Expect expect
}

type inputs struct {
	Prefixes []prefix
	Domain   string
	Service  string
	Intents  map[string]int64
	Sockets  json.RawMessage // a list of socket, or of numbers in the steps of round robin
	BoundTo  string          `json:"bound_to"`
	Random   number
	Call     string

	// These are the inputs of single computations.
	Filesize      int64
	Bandwidth     number
	RTT           number `json:"rtt_ms"`
	TLS           bool
	Reuse         int
	FreeCapacity  number            `json:"free_capacity"`
	PrefixMetrics map[string]number `json:"prefix_metrics"`
	IfaceMetrics  map[string]number `json:"iface_metrics"`
	RTTKey        string            `json:"rtt_key"`
	Key           string
	FallbackKey   string `json:"fallback_key"`
	Conns         int64  `json:"num_conns"`
	MaxRate       number `json:"max_rate"`
	Rate          number
	Count         int
	CountSmall    int    `json:"count_small"`
	Prefix        string // for pick_sockets_on_prefix
	RequestMPTCP  int    `json:"request_mptcp"`
	Category      int64
	Bitrate       int64
	Duration      int64
	Pessimist     bool
	Steps         []struct{ Sockets []int32 }
	PrefixOrder   []string `json:"prefix_order"`
	Requests      int
}

type prefix struct {
	Name          string
	Addr          string
	Masklen       int
	Config        map[string]string
	PrefixMetrics map[string]number `json:"prefix_metrics"`
	IfaceMetrics  map[string]number `json:"iface_metrics"`
	State         state
}

type state struct {
	Count        int
	CountSmall   int     `json:"count_small"`
	CountPrev    int     `json:"count_prev"`
	Reuse        int     `json:"reuse"`
	ReusePrev    int     `json:"reuse_prev"`
	SocketsBig   []int32 `json:"sockets_big"`
	SocketsSmall []int32 `json:"sockets_small"`
	NotPicked    int     `json:"not_picked"`
}

type socket struct {
	FD    int32
	Src   string
	MPTCP int
}

type expect struct {
	Chosen      *string
	Log         *string
	Predicted   map[string]number            `json:"predicted_ms"`
	LoadTimes   map[string]map[string]number `json:"load_times_ms"`
	State       map[string]state
	NotPicked   map[string]int `json:"not_picked"`
	Count       map[string]int
	ReplyAction string          `json:"reply_action"`
	Suggested   json.RawMessage // an address, null, or a list of addresses
	MPTCP       *bool
	FD          *int32
	Resolves    bool  `json:"resolves_name"`
	DefaultDNS  *bool `json:"default_dns"`

	Time      number `json:"time_ms"`
	Rounds    int
	Limit     int64  `json:"max_chunk"`
	Rest      int64  `json:"bytes_left"`
	FinalRate number `json:"final_rate"`
	Capacity  number
	Value     number
	FDs       []int32
	Results   []struct {
		FD  int32
		New string
	}
}

// groups are the groups of vectors with what runs them. If that is nil, another package
// does: internal/network/pathstat runs those of measurements, and
// internal/network/mptcp/original runs the two messages of MPTCP.
var groups = map[string]struct {
	n   int
	run func(*testing.T, vector)
}{
	"completion_time_slowstart": {15, runSlowStart},
	"completion_time_reuse":     {3, runReuse},
	"predict_completion_time":   {6, runPredict},
	"free_capacity":             {7, runCapacity},
	"free_capacity_freeorbusy":  {5, runCapacity},
	"free_capacity_countconns":  {3, runCapacity},
	"lookup_value":              {7, runLookup},
	"lowest_srtt":               {4, runChooser},
	"lowest_capacity":           {4, runChooser},
	"highest_capacity":          {2, runChooser},
	"pick_sockets_on_prefix":    {4, runPick},
	"earliest_arrival":          {11, runArrival},
	"threshold":                 {11, runArrival},
	"free_or_busy":              {3, runArrival},
	"countconns":                {4, runArrival},
	"probabilities":             {7, runArrival},
	"video":                     {30, runVideo},
	"mptcp_selective":           {16, runSelective},
	"mptcp_selective_callback":  {3, runCallback},
	"mptcp_simple":              {4, runCallback},
	"mptcp_filesize":            {3, runCallback},
	"mptcp_default_flow":        {3, runCallback},
	"sample":                    {5, runCallback},
	"intents":                   {6, runCallback},
	"filesize":                  {7, runCallback},
	"rr_pipelining_choose":      {1, runRoundRobinSockets},
	"rr_pipelining_connect":     {1, runRoundRobin},
	"rr_naive_connect":          {1, runRoundRobin},

	"measure_srtt":          {4, nil},
	"measure_rates":         {2, nil},
	"measure_qbss":          {2, nil},
	"mptcp_newflow_message": {2, nil},
}

func TestVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/policy-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		SchemaVersion int `json:"schema_version"`
		Vectors       []json.RawMessage
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if file.SchemaVersion != 1 {
		t.Fatalf("schema version %d", file.SchemaVersion)
	}
	ran := map[string]int{}
	for _, raw := range file.Vectors {
		var v vector
		var head struct{ ID, Group string }
		if err := json.Unmarshal(raw, &head); err != nil {
			t.Fatal(err)
		}
		ran[head.Group]++
		g, known := groups[head.Group]
		if !known {
			t.Errorf("%s: unknown group %q", head.ID, head.Group)
		}
		if g.run == nil {
			continue
		}
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatalf("%s: %v", head.ID, err)
		}
		t.Run(v.ID, func(t *testing.T) { g.run(t, v) })
	}
	want := map[string]int{}
	for name, g := range groups {
		want[name] = g.n
	}
	if diff := cmp.Diff(want, ran); diff != "" {
		t.Errorf("vectors per group (-want +got):\n%s", diff)
	}
}

// same compares with the tolerance of the vectors, 1e-9 of the wanted value.
func same(got float64, want number) bool {
	return got == float64(want) || math.Abs(got-float64(want)) <= 1e-9*math.Abs(float64(want))
}

func check(t *testing.T, what string, got float64, want number) {
	t.Helper()
	if !same(got, want) {
		t.Errorf("%s = %v, want %v", what, got, float64(want))
	}
}

// build returns the prefixes of a vector, also by name.
func (in inputs) build(t *testing.T) ([]*policy.Prefix, map[string]*policy.Prefix) {
	t.Helper()
	var list []*policy.Prefix
	byName := map[string]*policy.Prefix{}
	for _, v := range in.Prefixes {
		p := policytest.Prefix(v.Name, netip.PrefixFrom(netip.MustParseAddr(v.Addr), v.Masklen).String())
		for name, value := range v.Config {
			if name == "default" {
				p.Default = true // with any value, even 0
			} else {
				policytest.Option(name, value)(p)
			}
		}
		for _, metrics := range []map[string]number{v.PrefixMetrics, v.IfaceMetrics} {
			for key, value := range metrics {
				measure(t, p, key, value)
			}
		}
		list = append(list, p)
		byName[v.Name] = p
	}
	return list, byName
}

// measure sets a measurement. DBL_MAX, the original's start value, means unknown.
func measure(t *testing.T, p *policy.Prefix, key string, value number) {
	t.Helper()
	if value == math.MaxFloat64 {
		return
	}
	m, ok := policy.ParseMetric(key)
	if !ok {
		t.Fatalf("unknown metric %q", key)
	}
	p.Stats.Time, p.Stats.SampleTime, p.Link.Time = policytest.Now(), policytest.Now(), policytest.Now()
	rate := policy.BytesPerSecond(value)
	switch m {
	case policy.MetricSRTTMedian:
		p.Stats.SRTTMedian = situation.Milliseconds(float64(value))
	case policy.MetricSRTTMin:
		p.Stats.SRTTMin = situation.Milliseconds(float64(value))
	case policy.MetricRTTVarMean:
		p.Stats.RTTVarMean = situation.Milliseconds(float64(value))
	case policy.MetricConns:
		p.Stats.Conns = int(value)
	case policy.MetricDownRate:
		p.Link.DownRate = rate
	case policy.MetricDownRateMax:
		p.Link.DownRateMax = rate
	case policy.MetricDownSMAMax:
		p.Link.DownSMAMax.Short = rate
	case policy.MetricDownSMAMaxMid:
		p.Link.DownSMAMax.Mid = rate
	case policy.MetricDownSMAMaxLong:
		p.Link.DownSMAMax.Long = rate
	case policy.MetricDownSMAMaxVeryLong:
		p.Link.DownSMAMax.VeryLong = rate
	default:
		t.Fatalf("metric %q is not built", key)
	}
}

// sockets returns the offered sockets.
func (in inputs) sockets(t *testing.T, list []*policy.Prefix) []policy.Socket {
	t.Helper()
	if in.Sockets == nil {
		return nil
	}
	var offered []socket
	if err := json.Unmarshal(in.Sockets, &offered); err != nil {
		t.Fatal(err)
	}
	var out []policy.Socket
	for _, s := range offered {
		local := netip.MustParseAddr(s.Src)
		made := policy.Socket{FD: s.FD, Local: local, Multipath: s.MPTCP != 0}
		for _, p := range list {
			if p.Contains(local) {
				made.Prefix = p
				break
			}
		}
		out = append(out, made)
	}
	return out
}

// request returns the request of a vector.
func (in inputs) request(t *testing.T, list []*policy.Prefix) *policy.Request {
	t.Helper()
	r := policytest.Request(policy.Connect, list...)
	switch in.Call {
	case "socketconnect":
		r.Kind = policy.SocketConnect
	case "socketchoose":
		r.Kind = policy.SocketChoose
	case "connect", "":
	default:
		t.Fatalf("call %q", in.Call)
	}
	r.Sockets = in.sockets(t, list)
	if in.Call == "" && r.Sockets != nil {
		r.Kind = policy.SocketChoose
	}
	r.Network.Family = policy.IPv4
	r.Service = in.Service
	options := map[string]intent.Option{"category": intent.OptCategory, "filesize": intent.OptFileSize, "duration": intent.OptDuration, "bitrate": intent.OptBitrate}
	for name, value := range in.Intents {
		r.Intents = r.Intents.With(options[name], value)
	}
	if in.BoundTo != "" {
		r.Bound = netip.MustParseAddr(in.BoundTo)
		for _, p := range list {
			if r.BoundPrefix == nil && p.Contains(r.Bound) {
				r.BoundPrefix = p
			}
		}
	}
	return r
}

// chosen compares the chosen prefix.
func (e expect) chosen(t *testing.T, d policy.Decision) {
	t.Helper()
	want := ""
	if e.Chosen != nil {
		want = *e.Chosen
	}
	if got := policytest.Name(d.Prefix); got != want {
		t.Errorf("chose %q, want %q", got, want)
	}
	if d.Reason == "" {
		t.Error("no reason")
	}
}

// log compares the line of the policy log. If the original writes nothing, there is no
// line. If the original leaves a line open, the port ends it.
func (e expect) log(t *testing.T, p policy.Policy, r *policy.Request, d policy.Decision) {
	t.Helper()
	if e.Log == nil {
		return
	}
	line := p.(policy.LineLogger).LogLine(r, d)
	if line != "" {
		line += "\n"
	}
	if line != *e.Log {
		t.Errorf("log %q, want %q", line, *e.Log)
	}
}
