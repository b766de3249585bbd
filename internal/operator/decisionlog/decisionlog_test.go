package decisionlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
)

var comparer = cmp.Options{
	cmpopts.EquateEmpty(), cmpopts.EquateNaNs(),
	cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{}, intent.Set{}),
}

// TestRoundTrip writes calls about anything that the contract can express, with
// prefixes that change meanwhile, and reads back the same.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e Encoder
		var file []byte
		var want []*Entry
		host := drawHost(t)
		for i := range rapid.IntRange(1, 4).Draw(t, "decisions") {
			for j, p := range host {
				if rapid.Bool().Draw(t, "measured") {
					q := *p
					q.Stats.Conns = i
					host[j] = &q
				}
			}
			r, d := draw(t, host)
			var err error
			name := fmt.Sprint("policy", i)
			if file, err = e.Append(file, name, r, d); err != nil {
				t.Fatal(err)
			}
			if rapid.IntRange(0, 9).Draw(t, "reset") == 0 {
				e.Reset()
			}
			want = append(want, &Entry{Policy: name, Request: r, Decision: d})
			if rapid.Bool().Draw(t, "ended") {
				x := drawTransfer(t, host)
				if file, err = e.AppendTransfer(file, name, x); err != nil {
					t.Fatal(err)
				}
				want = append(want, &Entry{Policy: name, Transfer: x})
			}
		}
		in := NewReader(bytes.NewReader(file))
		for _, w := range want {
			got, err := in.Next()
			if err != nil {
				t.Fatalf("%v in\n%s", err, file)
			}
			w.Line = got.Line
			if diff := cmp.Diff(w, got, comparer); diff != "" {
				t.Fatalf("(-want +got)\n%s\n%s", diff, file)
			}
			if s := got.Decision.Socket; s != nil && &got.Request.Sockets[0] != s && len(got.Request.Sockets) == 1 {
				t.Fatal("the socket does not point into the request")
			}
		}
		if _, err := in.Next(); !errors.Is(err, io.EOF) {
			t.Fatalf("at the end: %v", err)
		}
	})
}

func TestEncodeErrors(t *testing.T) {
	p := &policy.Prefix{ID: policy.PrefixID{Interface: "a"}, Interface: "a"}
	var e Encoder
	file, err := e.Append(nil, "p", &policy.Request{Prefixes: []*policy.Prefix{p}}, policy.Decision{})
	if err != nil {
		t.Fatal(err)
	}
	bad := *p
	bad.Stats.LossUp = math.Inf(1)
	for name, r := range map[string]*policy.Request{
		"not finite":        {Prefixes: []*policy.Prefix{&bad}},
		"long line":         {Host: strings.Repeat("x", MaxLine)},
		"long prefix":       {BoundPrefix: &policy.Prefix{Interface: strings.Repeat("x", maxPrefixLine)}},
		"too many prefixes": {Prefixes: hostOf(maxPrefixes + 1)},
	} {
		if got, err := e.Append(file, "p", r, policy.Decision{}); err == nil || !bytes.Equal(got, file) {
			t.Errorf("%s: %d bytes, error %v", name, len(got)-len(file), err)
		}
	}
	// A prefix of an earlier request is not described again.
	stray := *p
	stray.Stats.Conns = 7
	if file, err = e.Append(file, "p", &policy.Request{Prefixes: []*policy.Prefix{p}}, policy.Decision{Prefix: &stray}); err != nil {
		t.Fatal(err)
	}
	in := NewReader(bytes.NewReader(file))
	_, _ = in.Next()
	got, err := in.Next()
	if err != nil || got.Decision.Prefix != got.Request.Prefixes[0] {
		t.Errorf("%+v, %v", got, err)
	}
	// If there are more prefixes over time than numbers, a new part begins.
	for i := range 3 {
		if file, err = e.Append(file[:0], "p", &policy.Request{Prefixes: hostOf(maxPrefixes - 1)}, policy.Decision{}); err != nil {
			t.Fatal(err)
		}
		if begun := bytes.HasPrefix(file, []byte(`{"log":`)); i > 0 && !begun {
			t.Errorf("time %d: %.40s", i, file)
		}
	}
}

func hostOf(n int) []*policy.Prefix {
	list := make([]*policy.Prefix, n)
	for i := range list {
		list[i] = &policy.Prefix{ID: policy.PrefixID{Interface: fmt.Sprint(i)}, Interface: fmt.Sprint(i)}
	}
	return list
}

func TestReadErrors(t *testing.T) {
	const log, prefix, good = `{"log":{"version":1}}`, `{"prefix":{"n":0,"interface":"a"}}`, `{"decision":{"policy":"p","kind":"connect","answer":{}}}`
	decision := func(text string) string { return `{"decision":{"policy":"p","kind":"connect",` + text + `}}` }
	for _, tt := range []struct{ name, line, want string }{
		{"no JSON", "nonsense", "invalid character"},
		{"torn", good[:20], "invalid character '\\n' in string literal"},
		{"two objects", good + good, "something follows"},
		{"nothing", "{}", `wants one of "log"`},
		{"two members", `{"log":{"version":1},"prefix":{"n":0}}`, `wants one of "log"`},
		{"unknown member", decision(`"colour":"blue"`), `unknown field "colour"`},
		{"version", `{"log":{"version":2}}`, "version 2 of the format is not known, only 1"},
		{"number", `{"prefix":{"n":1024}}`, "prefix number 1024 is not between 0 and 1023"},
		{"long prefix", `{"prefix":{"n":0,"interface":"` + strings.Repeat("x", maxPrefixLine) + `"}}`, "a prefix in"},
		{"health", `{"prefix":{"n":0,"health":{"state":"fine"}}}`, `unknown health "fine"`},
		{"cost", `{"prefix":{"n":0,"cost":"a lot"}}`, `unknown cost "a lot"`},
		{"kind", `{"decision":{"policy":"p","kind":"listen"}}`, `unknown kind "listen"`},
		{"family", decision(`"family":"IPX"`), `unknown family "IPX"`},
		{"transport", decision(`"transport":"rdm"`), `unknown transport "rdm"`},
		{"intent", decision(`"intents":{"haste":1}`), `unknown intent "haste"`},
		{"candidate", decision(`"prefixes":[0,7]`), "prefix number 7 is not described"},
		{"bound", decision(`"bound_prefix":-1`), "prefix number -1 is not described"},
		{"socket's prefix", decision(`"sockets":[{"fd":1,"prefix":9}]`), "prefix number 9 is not described"},
		{"destinations", decision(`"prefixes":[0],"dest_stats":[{},{}]`), "2 destination statistics for 1 prefixes"},
		{"connections", decision(`"prefixes":[0],"connections":[{"user":1},{}]`), "2 counts of connections for 1 prefixes"},
		{"answer", decision(`"answer":{"prefix":3}`), "answer: prefix number 3 is not described"},
		{"reused socket", decision(`"sockets":[{"fd":1}],"answer":{"socket":1}`), "answer: socket 1 of 1"},
		{"score", decision(`"answer":{"scores":[{"prefix":3}]}`), "answer: prefix number 3"},
		{"unit", decision(`"answer":{"scores":[{"prefix":0,"terms":[{"name":"x","unit":"furlong","value":1}]}]}`), `unknown unit "furlong"`},
		{"resolution", decision(`"answer":{"resolution":"maybe"}`), `unknown resolution "maybe"`},
		{"text", decision(`"host":{"base64":"!"}`), "illegal base64"},
		{"long line", decision(`"host":"` + strings.Repeat("x", MaxLine) + `"`), "longer than 1048576 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := NewReader(strings.NewReader(strings.Join([]string{log, prefix, "", tt.line, good}, "\n")))
			_, err := in.Next()
			var at *LineError
			if !errors.As(err, &at) || at.Line != 4 || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want line 4: %s", err, tt.want)
			}
			// The rest can be read.
			if e, err := in.Next(); err != nil || e.Line != 5 {
				t.Errorf("then %+v, %v", e, err)
			}
			if _, err := in.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v", err)
			}
		})
	}
}

// FuzzReader checks that whatever is accepted is written again with the same meaning.
func FuzzReader(f *testing.F) {
	var e Encoder
	file, err := e.Append(nil, "threshold", busy(0), policy.Decision{Reason: "why"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	if file, err = e.AppendTransfer(nil, "adaptive", &policy.Transfer{Token: 7, Prefix: busy(0).Prefixes[0], Bytes: 1000, End: time.Unix(1, 2)}); err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Add([]byte(`{"transfer":{"policy":"p","kind":"connect","intents":{"filesize":-1},"duration_ns":-5,"prefix":3}}`))
	f.Add([]byte(`{"prefix":{"n":0,"options":[{"name":"a","text":"b","value":"NaN"}]}}` + "\n" + `{"decision":{"policy":{"base64":"/w=="},"kind":"resolve","prefixes":[0],"answer":{"alternates":[0,0]}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := NewReader(bytes.NewReader(b))
		for {
			entry, err := in.Next()
			if errors.As(err, new(*LineError)) {
				continue
			}
			if err != nil {
				return
			}
			var e Encoder
			if entry.Transfer != nil {
				again, err := e.AppendTransfer(nil, entry.Policy, entry.Transfer)
				if err != nil {
					continue
				}
				if _, err := NewReader(bytes.NewReader(again)).Next(); err != nil {
					t.Fatalf("%v in %s", err, again)
				}
				continue
			}
			seen := map[policy.PrefixID]*policy.Prefix{}
			for _, p := range append(entry.Request.Prefixes, entry.Decision.Alternates...) {
				if other := seen[p.ID]; other != nil && other != p {
					return // one identity for several prefixes is beyond what a request can hold
				}
				seen[p.ID] = p
			}
			again, err := e.Append(nil, entry.Policy, entry.Request, entry.Decision)
			if err != nil {
				continue // figures beyond a line, or times beyond the year 9999
			}
			if _, err := NewReader(bytes.NewReader(again)).Next(); err != nil {
				t.Fatalf("%v in %s", err, again)
			}
		}
	})
}

// busy makes a request on a host with four networks in use, with the measurements of pass
// n.
func busy(n int) *policy.Request {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678912345, time.UTC).Add(time.Duration(n) * 100 * time.Millisecond)
	r := &policy.Request{
		Kind: policy.SocketConnect, Host: "www.example.net", Service: "443", Port: 443, Now: at.Add(time.Millisecond),
		Intents: intent.Set{}.WithCategory(intent.CategoryBulkTransfer).WithFileSize(300e6),
		App:     policy.App{UID: 1000, PID: 41213, Command: "curl", Executable: "/usr/bin/curl"},
	}
	for i := range 4 {
		rate := policy.BytesPerSecond(1234567.890123 + float64(n) + 1000*float64(i))
		four := policy.Windowed{Short: rate, Mid: rate + 1, Long: rate + 2, VeryLong: rate + 3}
		net := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(i), 0}), 24)
		r.Prefixes = append(r.Prefixes, &policy.Prefix{
			ID: policy.PrefixID{Interface: fmt.Sprintf("wlan%d", i), Prefix: net}, Interface: fmt.Sprintf("wlan%d", i), Index: i, CIDR: net,
			Addrs: []netip.Addr{net.Addr().Next()}, Health: policy.Health{Since: at},
			Stats: policy.PathStats{
				Time: at, Conns: 14, SampleTime: at, SRTTMean: 12345678, SRTTMedian: 12345678, SRTTMin: 9876543, SRTTCurrent: 9876543,
				SRTTVariance: 123.456789, RTTVarMedian: 1234567, RTTVarMean: 1234567, LossUp: 0.00123, RetransUp: 0.00234,
			},
			Link: policy.LinkStats{
				Time: at, DownRate: rate, UpRate: rate, DownRateMax: rate, UpRateMax: rate, DownRateMaxTime: at, UpRateMaxTime: at,
				DownSMA: rate, DownSMAMax: four, DownSMAMin: four, DownSMAQuantile: four, DownBytes: 123456789, UpBytes: 12345678,
			},
		})
	}
	return r
}

// answerTo makes an answer as the earliest-arrival policies give it.
func answerTo(r *policy.Request) policy.Decision {
	d := policy.Decision{Prefix: r.Prefixes[1], Alternates: []*policy.Prefix{r.Prefixes[0], r.Prefixes[2], r.Prefixes[3]}, Reason: "capacity-dominated, shortest predicted time"}
	for i, p := range r.Prefixes {
		d.Scores = append(d.Scores, policy.Score{Prefix: p, Predicted: 124612345678 + time.Duration(i), Terms: []policy.Term{
			{Name: "rtt", Unit: policy.Milliseconds, Value: 9.876543, Time: p.Stats.Time},
			{Name: "free capacity", Unit: policy.ByteRate, Value: 1234567.890123, Time: p.Link.Time},
		}})
	}
	return d
}

// TestSize measures the sizes that the package comment states.
func TestSize(t *testing.T) {
	size := func(passes int) int {
		var e Encoder
		var b []byte
		const n = 1000
		r := busy(0)
		for i := range n {
			if i%(n/passes) == 0 {
				r = busy(i)
			}
			var err error
			if b, err = e.Append(b, "threshold", r, answerTo(r)); err != nil {
				t.Fatal(err)
			}
		}
		return len(b) / n
	}
	same, each := size(10), size(1000)
	t.Logf("bytes per decision: %d on few snapshots, %d each on its own; a prefix %d", same, each, (each-same)/4)
	if same > 1450 || each > 6000 {
		t.Error("more than the package comment says")
	}
}

func BenchmarkAppend(b *testing.B) {
	var e Encoder
	var buf []byte
	r := busy(0)
	d := answerTo(r)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = e.Append(buf[:0], "threshold", r, d); err != nil {
			b.Fatal(err)
		}
	}
}
