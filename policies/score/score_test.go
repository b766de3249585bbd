package score

import (
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/shape"
	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

const open, choose = policy.SocketConnect, policy.SocketChoose

func settings(texts ...string) policy.Config {
	return policy.Config{Settings: Settings(`policy "score"`, texts...)}
}

func makePolicy(t testing.TB, texts ...string) *Policy {
	t.Helper()
	p, err := New(settings(texts...))
	if err != nil {
		t.Fatal(err)
	}
	return p.(*Policy)
}

// evaluate returns the score of prefix A, with B as another candidate.
func evaluate(t testing.TB, expression string, edit func(*policy.Request)) float64 {
	t.Helper()
	r := Request(open, A(Option("num_conns", "2")), B())
	r.Intents = r.Intents.WithFileSize(60000).WithCategory(intent.CategoryBulkTransfer)
	if edit != nil {
		edit(r)
	}
	p := makePolicy(t, "minimize="+expression)
	p.score(r)
	return p.scores[0]
}

func TestExpressions(t *testing.T) {
	nan := math.NaN()
	noSize := func(r *policy.Request) { r.Intents = r.Intents.Without(intent.OptFileSize) }
	for _, tt := range []struct {
		expression string
		edit       func(*policy.Request)
		want       float64
	}{
		{"1 + 2 * 3 - 4 / 8", nil, 6.5},
		{"(1 + 2) * 3 % 5", nil, 4},
		{"-prefix.num_conns", nil, -2},
		{"1 < 2 ? 10 : 20", nil, 10},
		{"1 > 2 ? 10 : 20", nil, 20},
		{"1 <= 1 && 2 >= 3 || !(1 == 1) || 1 != 1 ? 1 : 0", nil, 0},
		{"true == false ? 1 : 0", nil, 0},
		{"true != false ? 1 : 0", nil, 1},
		{"(true ? false : true) ? 1 : 2", nil, 2},
		{`(true ? "a" : "b") == "a" ? 1 : 2`, nil, 1},
		{`"a" != "b" ? 1 : 2`, nil, 1},
		{"min(3, 1, 2) + max(5) + abs(-4)", nil, 10},
		{"floor(1.5) + ceil(1.5) + sqrt(9) + log(1) + pow(2, 3)", nil, 14},
		{"prefix.srtt_minimum_recent + prefix.srtt_median_recent", nil, 45},
		{"link.download_rate_max_recent", nil, 1250000},
		{"floor(link.free_capacity)", nil, 1077586},
		{"link.free_or_busy_capacity", nil, 1250000},
		{`request.service == "80" && request.port == 80 && !request.tls && request.kind == "socketconnect" ? 1 : 0`, nil, 1},
		{`request.host == "www.example.net" && request.command == "test" && request.uid == 1000 ? 1 : 0`, nil, 1},
		{`request.family == "unspecified" && request.transport == "stream" && request.sockets == 0 ? 1 : 0`, nil, 1},
		{`intent.category == "bulktransfer" ? intent.filesize : 0`, nil, 60000},
		{`intent.category == "category(2147483647)" ? 1 : 0`, func(r *policy.Request) { r.Intents = r.Intents.With(intent.OptCategory, 1<<40) }, 1},
		{`prefix.interface == "a" && prefix.network == "10.0.1.0/24" && prefix.family == "IPv4" ? 1 : 0`, nil, 1},
		{`prefix.default && prefix.is_lowest_rtt && prefix.cost == "free" && prefix.health == "up" ? 1 : 0`, nil, 1},
		{`lowest_rtt.interface == "a" ? lowest_rtt.srtt_minimum_recent : 0`, nil, 20},
		{"floor(completion_time())", nil, 128},
		{"floor(completion_time(intent.filesize, link.free_capacity, prefix.srtt_median_recent))", nil, 128},
		{"completion_time(1000, 1250000, 50)", nil, 100},
		{"completion_time(1000, 1250000, 50)", func(r *policy.Request) { OverTLS(r) }, 200},

		{"prefix.user_connections * 10 + prefix.program_connections", func(r *policy.Request) { Carry(r, r.Prefixes[0], 5, 2) }, 52},
		{"lowest_rtt.user_connections", func(r *policy.Request) { Carry(r, r.Prefixes[1], 5, 2) }, 0},

		// Unknown values.
		{"prefix.user_connections", nil, nan},
		{"prefix.program_connections", nil, nan},
		{"or_else(prefix.user_connections, 7)", nil, 7},
		{"intent.bitrate", nil, nan},
		{"intent.bitrate * 0", nil, nan},
		{`intent.timeliness == "stream" ? 1 : 0`, nil, nan},
		{"known(intent.bitrate) ? 1 : 0", nil, 0},
		{"known(intent.filesize) ? 1 : 0", nil, 1},
		{"known(intent.timeliness) || known(intent.bitrate > 3) ? 1 : 0", nil, 0},
		{"known(1 / 0) ? 1 : 0", nil, 0},
		{"or_else(intent.bitrate, 7)", nil, 7},
		{"or_else(intent.filesize, 7)", nil, 60000},
		{"or_else(intent.bitrate, intent.duration)", nil, nan},
		{"intent.bitrate + or_else(1, 2)", nil, nan},
		{"true || intent.bitrate > 0 ? 1 : 0", nil, 1},
		{"true ? 1 : intent.bitrate", nil, 1},
		{"link.download_sma_max", nil, nan},
		{"link.signal_strength", nil, nan},
		{"link.upload_rate_current", nil, 0}, // measured as 0
		{"1 / 0", nil, nan},
		{"sqrt(-1)", nil, nan},
		{"completion_time()", noSize, nan},
		{"completion_time(1000, 0, 50)", nil, nan},
		{"completion_time(0/0, 1000, 50)", nil, nan},
		{"lowest_rtt.srtt_minimum_recent", func(r *policy.Request) { r.Prefixes = []*policy.Prefix{Prefix("c", "10.0.3.2/24")} }, nan},
		{`lowest_rtt.interface == "" || lowest_rtt.default ? 1 : 0`, func(r *policy.Request) { r.Prefixes = []*policy.Prefix{Prefix("c", "10.0.3.2/24")} }, nan},
		{"link.free_capacity", func(r *policy.Request) { r.Prefixes = []*policy.Prefix{Prefix("c", "10.0.3.2/24")} }, nan},
	} {
		if got := evaluate(t, tt.expression, tt.edit); got != tt.want && !(math.IsNaN(got) && math.IsNaN(tt.want)) {
			t.Errorf("%s = %v, want %v", tt.expression, got, tt.want)
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, tt := range []struct {
		setting string
		at      string // line 1; an expression starts at column 20
		want    string
	}{
		{"minimize=prefix.srtt", "1,20", `unknown name "prefix.srtt"; known in prefix: cost, default`},
		{"minimize=1 + link.srtt_median_recent", "1,24", `unknown name "link.srtt_median_recent"`},
		{"minimize=speed * 2", "1,20", `unknown name "speed"; a text has quotes: "speed"; known names: intent, link, lowest_rtt, prefix, request`},
		{"minimize=intent.category == query ? 1 : 2", "1,39", `unknown name "query"; a text has quotes: "query"`},
		{"minimize=speed.link", "1,20", `unknown name "speed"; known: intent`},
		{"minimize=prefix", "1,20", `unknown name "prefix."`},
		{"minimize=prefix.cost.free", "1,20", "unknown name"},
		{"minimize=link.is_lowest_rtt", "1,20", "unknown name"},
		{`minimize=prefix.num_conns + "1"`, "1,39", "must be a number here, not a text"},
		{`minimize=prefix.cost == 1 ? 1 : 2`, "1,35", "must be a text here, not a number"},
		{`minimize=intent.duration > "5m" ? 1 : 2`, "1,38", `"5m" could be a size or a duration`},
		{`minimize="5m" < intent.duration ? 1 : 2`, "1,20", `"5m" could be a size or a duration`},
		{`minimize=intent.duration > "30ms" ? 1 : 2`, "1,38", `"30ms" is a duration: write a number without quotes`},
		{`minimize=prefix.srtt_median_recent < "30MB" ? 1 : 2`, "1,48", `is in milliseconds, or a duration: "30MB" is neither`},
		{`minimize=intent.filesize < "30ms" ? 1 : 2`, "1,38", `is in bytes, or a size: "30ms" is neither`},
		{`minimize="30MB" < link.free_capacity ? 1 : 2`, "1,20", `is in bytes per second, or a rate: "30MB" is neither`},
		{`minimize=prefix.srtt_median_recent * prefix.num_conns < "30ms" ? 1 : 2`, "1,67", `"30ms" is a duration: write a number`},
		{`minimize=completion_time("30ms", 1, 1)`, "1,36", `is in bytes, or a size`},
		{`minimize="a" < "b" ? 1 : 2`, "1,20", "must be a number here, not a text"},
		{"minimize=1 && true ? 1 : 2", "1,20", "must be true or false here, not a number"},
		{"minimize=!1 ? 1 : 2", "1,21", "must be true or false here"},
		{"minimize=-true", "1,21", "must be a number here"},
		{"minimize=1 ? 1 : 2", "1,20", "must be true or false here"},
		{`minimize=true ? 1 : "x"`, "1,31", "must be a number here"},
		{"minimize=prefix.default", "1,20", "must be a number, not true or false"},
		{"require=1", "1,20", "must be true or false, not a number"},
		{"minimize=sin(1)", "1,20", `unknown function "sin"; known: abs`},
		{"minimize=abs(1, 2)", "1,20", "abs does not take 2 arguments"},
		{"minimize=min()", "1,20", "min does not take 0 arguments"},
		{"minimize=completion_time(1)", "1,20", "completion_time does not take 1 arguments"},
		{"minimize=known() ? 1 : 2", "1,20", "known takes one argument, not 0"},
		{"minimize=min([1]...)", "1,20", "must be written out"},
		{"minimize=[1]", "1,20", "cannot make a score"},
		{`minimize="prefix.num_conns"`, "1,20", "must be a number, not a text: write the expression without quotes"},
		{"minimize=null", "1,20", "must be a number, true or false, or a text"},
		{`minimize="${prefix.cost}"`, "1,20", "cannot make a score"},
		{`minimize="a${prefix.cost}" == "b" ? 1 : 2`, "1,20", "a text must be constant"},
		{"minimize=1 +", "1,", "minimize in policy"},
		{"minimize=" + strings.Repeat("(", 300) + "1" + strings.Repeat(")", 300), "1,", "nested too deep"},
		{"foo=1", "1,3", `unknown setting "foo" in policy "score"; known: maximize, minimize, require`},
	} {
		_, err := New(settings(tt.setting))
		if err == nil || !strings.Contains(err.Error(), "test.conf:"+tt.at) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want test.conf:%s: ...%s", tt.setting, err, tt.at, tt.want)
		}
	}
	_, err := New(policy.Config{})
	Refused(t, err, "needs a setting minimize or maximize")
	if _, err = New(settings("minimise=1")); strings.Contains(err.Error(), "needs") { // the misspelt setting is the one that is needed
		t.Error(err)
	}
	_, err = New(settings("minimize=1", "maximize=1"))
	Refused(t, err, "test.conf:2,3", "minimize is given already")
	_, err = New(settings("minimize=a", "require=b"))
	Refused(t, err, "test.conf:1,20", "test.conf:2,20") // both errors are reported
}

func TestChoose(t *testing.T) {
	a, b, bare := A(), B(), Prefix("c", "10.0.3.2/24", Default)
	Run(t, Make(New, "minimize=prefix.srtt_minimum_recent"), []Case{
		{"lowest", Request(open, b, bare, a), Answer{Prefix: "a", Alternates: "b c", Reason: reasonLowest}, ""},
		{"none has a score", Request(open, Prefix("d", "10.0.4.2/24"), bare), Answer{Prefix: "c", Alternates: "d", Reason: reasonNothing}, ""},
		{"none has a score, no default", Request(open, Prefix("d", "10.0.4.2/24")), Answer{Reason: shape.ReasonNoDefault}, ""},
		{"no prefix", Request(open), Answer{Reason: shape.ReasonNoDefault}, ""},
		{"single", Request(open, b), Answer{Prefix: "b", Reason: reasonLowest}, ""},
		{"reuse", Offer(Request(choose, a, b), b, a), Answer{Prefix: "a", FD: 6, Alternates: "b", Reason: reasonLowest}, ""},
		{"reuse on the default", Offer(Request(choose, bare), bare), Answer{Prefix: "c", FD: 5, Reason: reasonNothing}, ""},
		{"bound", Bind(Offer(Request(choose, a, b), b), b), Answer{FD: 5, Reason: shape.ReasonBound}, ""},
		{"both families", Request(open, b, A6()), Answer{Prefix: "a", Alternates: "b", Reason: reasonLowest}, ""},
	})
	Run(t, Make(New, "maximize=link.download_rate_max_recent", `require=prefix.interface != "b"`), []Case{
		{"highest that is allowed", Request(open, b, bare, a, Prefix("d", "10.0.4.2/24", Down(1000, 0))),
			Answer{Prefix: "a", Alternates: "d c", Only: true, Reason: reasonHighest}, ""},
		{"none is allowed", Request(open, b), Answer{Only: true, Reason: reasonRefused}, ""},
		{"not the default, if that is not allowed", Request(open, B(Default), bare), Answer{Prefix: "c", Only: true, Reason: reasonFirst}, ""},
		{"not what stands in for the default", standIn(Request(open, b, Prefix("c", "10.0.3.2/24")), b), Answer{Prefix: "c", Only: true, Reason: reasonFirst}, ""},
		{"the default, without a score", Request(open, Prefix("d", "10.0.4.2/24"), b, Prefix("c", "10.0.3.2/24", Default)),
			Answer{Prefix: "c", Alternates: "d", Only: true, Reason: reasonNothing}, ""},
		{"no candidate", Request(open), Answer{Only: true, Reason: reasonNone}, ""},
		{"no candidate, but a way of its own", Aside(Request(open)), Answer{Reason: shape.ReasonNoDefault}, ""},
		{"no idle socket that is not allowed", Offer(Request(choose, b, a), b), Answer{Prefix: "a", Only: true, Reason: reasonHighest}, ""},
		{"bound to what is allowed", Bind(Request(open, b, a), a), Answer{Prefix: "a", Only: true, Reason: shape.ReasonBound}, ""},
		{"bound to what is not", Bind(Offer(Request(choose, b, a), b), b), Answer{Only: true, Reason: reasonRefused}, ""},
		{"bound to loopback", boundTo("127.0.0.1", Request(open, b, a)), Answer{Reason: shape.ReasonBound}, ""},
		{"bound to what is not managed", boundTo("172.17.0.1", Request(open, b, a)), Answer{Only: true, Reason: reasonForeign}, ""},
		{"bound to what is not managed, for what is there", Aside(boundTo("172.17.0.1", Request(open))), Answer{Reason: shape.ReasonBound}, ""},
		{"bound to a port", boundTo("0.0.0.0", Request(open, b, a)), Answer{Prefix: "a", Only: true, Reason: reasonHighest}, ""},
		{"bound to a port, none is allowed", boundTo("::", Request(open, b)), Answer{Only: true, Reason: reasonRefused}, ""},
	})
	// One user must not use one network, as in the README.
	wlan, wwan := Prefix("wlan0", "10.0.8.2/24", RTT(900, 900, 1)), Prefix("wwan0", "10.0.9.2/24", Default, RTT(1, 1, 1))
	Run(t, Make(New, "minimize=prefix.srtt_median_recent", `require=!(request.uid == 1000 && prefix.interface == "wwan0")`), []Case{
		{"this user", Request(open, wlan, wwan), Answer{Prefix: "wlan0", Only: true, Reason: reasonLowest}, ""},
		{"this user, nothing else there", Request(open, wwan), Answer{Only: true, Reason: reasonRefused}, ""},
		{"another user", by(1001, Request(open, wlan, wwan)), Answer{Prefix: "wwan0", Alternates: "wlan0", Only: true, Reason: reasonLowest}, ""},
	})
	Run(t, Make(New, "minimize=1", "require=prefix.srtt_minimum_recent < 30"), []Case{
		{"an unknown requirement is not met", Request(open, bare, b, a), Answer{Prefix: "a", Only: true, Reason: reasonLowest}, ""},
		{"known by another name", Request(open, bare, B(Default)), Answer{Only: true, Reason: reasonRefused}, ""},
	})
	Run(t, Make(New, "minimize=1", "require=!known(prefix.srtt_minimum_recent) || prefix.srtt_minimum_recent < 30"), []Case{
		{"unless it says so", Request(open, b, bare, a), Answer{Prefix: "c", Alternates: "a", Only: true, Reason: reasonLowest}, ""},
	})
	Run(t, Make(New, "minimize=1"), []Case{
		{"first of equal ones", Request(open, b, a), Answer{Prefix: "b", Alternates: "a", Reason: reasonLowest}, ""},
	})
}

func standIn(r *policy.Request, p *policy.Prefix) *policy.Request {
	r.StandIn = p
	return r
}

func by(uid uint32, r *policy.Request) *policy.Request {
	r.App.UID = uid
	return r
}

func boundTo(addr string, r *policy.Request) *policy.Request {
	r.Bound = netip.MustParseAddr(addr)
	return r
}

func TestSizes(t *testing.T) {
	r := func() *policy.Request { return Size(Request(open, A(), B()), 300e6) }
	for _, expr := range []string{
		`intent.filesize == "300M"`, `"300 MB" == intent.filesize`, `intent.filesize > "286MiB"`, `min("1G", intent.filesize) == 300000000`,
		`!("1GB" < intent.filesize)`, `request.host != "300M"`,
	} {
		p := makePolicy(t, "minimize="+expr+" ? 1 : intent.bitrate") // which is unknown
		if got := p.Choose(r()).Reason; got != reasonLowest {
			t.Errorf("%s: %s", expr, got)
		}
	}
}

// A text with a unit is a number, in the unit of the value beside it.
func TestQuantities(t *testing.T) {
	for expr, want := range map[string]float64{
		`prefix.srtt_median_recent < "30ms" ? 1 : 2`:                                    1,
		`"0.02s" < prefix.srtt_median_recent ? 1 : 2`:                                   1,
		`2 * prefix.srtt_median_recent - 1 < "1m" ? 1 : 2`:                              1,
		`intent.filesize < "1m" ? 1 : 2`:                                                1,
		`link.download_rate_max_recent == "10Mbit/s" ? 1 : 2`:                           1,
		`link.free_capacity > "1.25 MB/s" ? 1 : 2`:                                      2,
		`min(prefix.srtt_median_recent, "10ms")`:                                        10,
		`or_else(intent.bitrate, 7) == 7 ? 1 : 2`:                                       1,
		`or_else(prefix.srtt_median_recent, "1s")`:                                      25,
		`completion_time("1kB", "10Mbit/s", "50ms")`:                                    100,
		`(prefix.default ? prefix.srtt_median_recent : prefix.srtt_minimum_recent) / 5`: 5,
		`completion_time() < "1s" ? 1 : 2`:                                              1,
		`(prefix.default ? "2s" : prefix.srtt_minimum_recent)`:                          2000,
	} {
		if got := evaluate(t, expr, nil); got != want {
			t.Errorf("%s = %v, want %v", expr, got, want)
		}
	}
}

func TestScores(t *testing.T) {
	p := makePolicy(t, "minimize=prefix.srtt_minimum_recent * 2 + prefix.srtt_minimum_recent / link.download_rate_max_recent")
	d := p.Choose(Request(open, A(), Prefix("c", "10.0.3.2/24")))
	terms := d.Scores[0].Terms
	if len(terms) != 3 || terms[0].Name != "score" || math.Floor(terms[0].Value) != 40 || terms[1].Name != "prefix.srtt_minimum_recent" ||
		terms[1].Unit != policy.Milliseconds || terms[2].Value != 1250000 || terms[2].Unit != policy.ByteRate || !terms[1].Time.Equal(Now()) {
		t.Errorf("terms %+v", terms)
	}
	if none := d.Scores[1]; !math.IsNaN(none.Terms[0].Value) || none.Note != "no score" {
		t.Errorf("%+v", none)
	}
}

// TestREADMENamesEveryMetric checks that the README lists each metric with its unit,
// below the root that has it.
func TestREADMENamesEveryMetric(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range policy.Metrics() {
		want := "`" + m.String() + "`"
		if symbol := m.Symbol(); symbol != "" {
			want += " (" + symbol + ")"
		}
		row := "| `" + owner(m) + ".` |"
		if !slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool {
			return strings.HasPrefix(line, row) && strings.Contains(line, want)
		}) {
			t.Errorf("the row %s does not name %s", row, want)
		}
	}
}

func BenchmarkChoose(b *testing.B) {
	p := makePolicy(b, "minimize=(known(lowest_rtt.srtt_minimum_recent) && lowest_rtt.srtt_minimum_recent * (lowest_rtt.idle_sockets > 0 ? 1 : request.tls ? 4 : 2) > 1000 * intent.filesize / or_else(lowest_rtt.free_capacity, -1) ? prefix.is_lowest_rtt ? 0 : 1 : completion_time())")
	r := Size(Request(open, A(), B(), Prefix("c", "10.0.3.2/24"), Prefix("d", "10.0.4.2/24", RTT(30, 40, 1), Down(3e6, 1e6))), 1000000)
	b.ReportAllocs()
	for b.Loop() {
		p.Choose(r)
	}
}

// The network with the fewest connections of the user wins, and the count is shown as
// the reason. If the user is not known, nothing is counted, and the default network is
// taken.
func TestFewestOfMyOwn(t *testing.T) {
	p := makePolicy(t, "minimize=prefix.user_connections", "require=prefix.user_connections < 4")
	a, b := A(), B()
	for _, tt := range []struct {
		name string
		r    *policy.Request
		want Answer
	}{
		{"equal", Carry(Carry(Request(open, a, b), a, 2, 0), b, 2, 1), Answer{Prefix: "a", Alternates: "b", Only: true, Reason: reasonLowest}},
		{"fewer", Carry(Carry(Request(open, a, b), a, 2, 2), b, 1, 0), Answer{Prefix: "b", Alternates: "a", Only: true, Reason: reasonLowest}},
		{"too many on one", Carry(Carry(Request(open, a, b), a, 4, 2), b, 3, 0), Answer{Prefix: "b", Only: true, Reason: reasonLowest}},
		{"too many on all", Carry(Carry(Request(open, a, b), a, 4, 2), b, 5, 0), Answer{Only: true, Reason: reasonRefused}},
		{"unknown user", Request(open, a, b), Answer{Only: true, Reason: reasonRefused}},
	} {
		d := p.Choose(tt.r)
		if got := AnswerOf(d); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
		for i, s := range d.Scores {
			term := s.Terms[1]
			c, known := tt.r.ConnectionsOn(tt.r.Prefixes[i])
			if term.Name != "prefix.user_connections" || term.Unit != policy.Count || known && term.Value != float64(c.User) || !known && !math.IsNaN(term.Value) {
				t.Errorf("%s: shown as %+v", tt.name, term)
			}
		}
	}
	free := makePolicy(t, "minimize=prefix.user_connections")
	if got := AnswerOf(free.Choose(Request(open, b, a))); got != (Answer{Prefix: "a", Alternates: "b", Reason: reasonNothing}) {
		t.Errorf("unknown user, nothing required: %+v", got)
	}
}
