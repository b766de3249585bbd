package decisionlog

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
)

// Encoder writes decisions as lines. The zero value begins a file. It is not
// safe for concurrent use.
type Encoder struct {
	begun   bool
	numbers map[policy.PrefixID]numbered
}

// numbered is a prefix that the file has described.
type numbered struct {
	n      int
	prefix *policy.Prefix
}

// Reset makes the next line begin a new part of the file, which does not refer to
// earlier lines.
func (e *Encoder) Reset() { *e = Encoder{} }

// Append appends the lines for a call of the policy of that name. An error means that a
// line would be longer than MaxLine, or that the request has too many prefixes. Then
// nothing is appended, and the next line begins a new part, as after Reset.
func (e *Encoder) Append(b []byte, name string, r *policy.Request, d policy.Decision) ([]byte, error) {
	// Room is made for all prefixes of the request at once, so that no number is reused
	// while the request still refers to it.
	return e.lines(b, "a decision", len(r.Prefixes)+len(r.Sockets)+2, func(number numbers) line {
		out := encodeRequest(r, number)
		out.Policy = text(name)
		// An answer refers to prefixes of its request. If it names a prefix of another
		// request, the prefix of the same name in this request is meant, if any.
		out.Answer = encodeAnswer(r, d, func(p *policy.Prefix) *int {
			if p == nil {
				return nil
			}
			if known, ok := e.numbers[p.ID]; ok {
				return &known.n
			}
			return nil
		})
		return line{Decision: out}
	})
}

// AppendTransfer appends the lines for a transfer that has ended. The policy of that name
// had decided about it. An error means what it means for Append.
func (e *Encoder) AppendTransfer(b []byte, name string, t *policy.Transfer) ([]byte, error) {
	return e.lines(b, "a transfer", 1, func(number numbers) line {
		return line{Transfer: &transfer{
			Policy: text(name), Token: t.Token, Prefix: number(t.Prefix), App: encodeApp(t.App), Kind: word(kinds, t.Kind), Intents: encodeIntents(t.Intents),
			Host: text(t.Host), Remote: t.Remote, Port: t.Port, Measured: t.Measured, Reused: t.Reused, Partial: t.Partial, Bytes: t.Bytes,
			Duration: t.Duration, Connect: t.Connect, RTT: t.RTT, MinRTT: t.MinRTT, Predicted: t.Predicted, End: t.End,
		}}
	})
}

// numbers returns the number of a prefix, and nil for nil. It describes the prefix first
// if the file does not have it as it is now.
type numbers func(*policy.Prefix) *int

// lines appends a line that last makes, after lines for the prefixes that it needs. These
// are at most that many. what says what the line is about, in an error.
func (e *Encoder) lines(b []byte, what string, prefixes int, last func(numbers) line) ([]byte, error) {
	begin := len(b)
	b, err := e.append(b, prefixes, last)
	if err != nil {
		e.Reset()
		return b[:begin], fmt.Errorf("encode %s: %w", what, err)
	}
	return b, nil
}

func (e *Encoder) append(b []byte, prefixes int, last func(numbers) line) (_ []byte, err error) {
	if e.begun && len(e.numbers)+prefixes > maxPrefixes {
		e.Reset()
	}
	if !e.begun {
		e.begun, e.numbers = true, map[policy.PrefixID]numbered{}
		if b, err = appendLine(b, line{Log: &header{version}}, MaxLine); err != nil {
			return b, err
		}
	}
	out := last(func(p *policy.Prefix) *int {
		if p == nil || err != nil {
			return nil
		}
		known, ok := e.numbers[p.ID]
		if !ok {
			known.n = len(e.numbers)
		}
		if known.prefix != p {
			known.prefix = p
			e.numbers[p.ID] = known
			b, err = appendLine(b, line{Prefix: encodePrefix(known.n, p)}, maxPrefixLine)
		}
		return &known.n
	})
	if err != nil {
		return b, err
	}
	if len(e.numbers) > maxPrefixes {
		return b, fmt.Errorf("more than %d prefixes", maxPrefixes)
	}
	return appendLine(b, out, MaxLine)
}

func appendLine(b []byte, l line, limit int) ([]byte, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return b, err
	}
	if len(text) >= limit {
		return b, fmt.Errorf("a line of %d bytes is too long", len(text))
	}
	return append(append(b, text...), '\n'), nil
}

func encodePrefix(n int, p *policy.Prefix) *prefix {
	out := &prefix{
		N: n, Interface: text(p.Interface), Index: p.Index, Prefix: p.CIDR, Name: text(p.Name), Addrs: p.Addrs, Default: p.Default,
		Cost: word(costs, p.Cost), Budget: budget(p.Budget), Stats: pathStats(p.Stats), Link: encodeLink(p.Link), Wifi: (*wifiStats)(p.Wifi),
	}
	if p.ID.Interface != p.Interface || p.ID.Prefix != p.CIDR {
		out.ID = &prefixID{text(p.ID.Interface), p.ID.Prefix}
	}
	if h := p.Health; h != (policy.Health{}) {
		out.Health = &health{word(states, h.State), text(h.Reason), h.Since}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Options)) {
		o := p.Options[name]
		setting := option{Name: text(name), Text: text(o.Text)}
		if o.Numeric && o != policy.NewOption(o.Text) {
			v := number(o.Number)
			setting.Value = &v
		}
		out.Options = append(out.Options, setting)
	}
	return out
}

func encodeLink(s policy.LinkStats) linkStats {
	return linkStats{
		Time: s.Time, DownRate: s.DownRate, UpRate: s.UpRate, DownRateMax: s.DownRateMax, UpRateMax: s.UpRateMax,
		DownRateMaxTime: s.DownRateMaxTime, UpRateMaxTime: s.UpRateMaxTime, DownSMA: s.DownSMA,
		DownSMAMax: windowed(s.DownSMAMax), DownSMAMin: windowed(s.DownSMAMin), DownSMAQuantile: windowed(s.DownSMAQuantile),
		DownBytes: s.DownBytes, UpBytes: s.UpBytes, RxErrors: s.RxErrors, TxErrors: s.TxErrors,
	}
}

func encodeRequest(r *policy.Request, number numbers) *decision {
	out := &decision{
		Now: r.Now, Kind: word(kinds, r.Kind), Transport: word(transports, r.Network.Transport), Family: word(families, r.Network.Family),
		Host: text(r.Host), Service: text(r.Service), Port: r.Port, Remote: r.Remote, Bound: r.Bound,
		App: encodeApp(r.App), Intents: encodeIntents(r.Intents),
	}
	for _, p := range r.Prefixes {
		if n := number(p); n != nil {
			out.Prefixes = append(out.Prefixes, *n)
		}
	}
	out.StandIn, out.Aside = number(r.StandIn), r.Aside
	for _, s := range r.DestStats {
		out.DestStats = append(out.DestStats, pathStats(s))
	}
	for _, c := range r.Connections {
		out.Connections = append(out.Connections, connections(c))
	}
	out.BoundPrefix = number(r.BoundPrefix)
	for _, s := range r.Sockets {
		out.Sockets = append(out.Sockets, socket{FD: s.FD, Local: s.Local, Prefix: number(s.Prefix), Multipath: s.Multipath})
	}
	return out
}

func encodeApp(a policy.App) app {
	return app{a.UID, a.PID, text(a.Command), text(a.Executable)}
}

func encodeIntents(s intent.Set) map[string]int64 {
	var out map[string]int64
	for o, v := range s.All() {
		if out == nil {
			out = map[string]int64{}
		}
		out[o.String()] = v
	}
	return out
}

func encodeAnswer(r *policy.Request, d policy.Decision, number numbers) answer {
	out := answer{Prefix: number(d.Prefix), Only: d.Only, Multipath: d.Multipath, Race: d.Race, Token: d.Token, Resolution: word(resolutions, d.Resolution), Reason: text(d.Reason)}
	if l := d.Lease; l != (policy.Lease{}) {
		out.Lease = &lease{l.For, l.Uses, l.Bytes, l.Measured, l.AnyName, uint32(l.Ignored), l.Sizes.From, l.Sizes.To}
	}
	for i := range r.Sockets {
		if d.Socket == &r.Sockets[i] {
			out.Socket = &i
		}
	}
	for _, p := range d.Alternates {
		if n := number(p); n != nil {
			out.Alternates = append(out.Alternates, *n)
		}
	}
	for _, o := range d.Options {
		out.Options = append(out.Options, socketOption(o))
	}
	for _, s := range d.Scores {
		one := score{Prefix: number(s.Prefix), Predicted: s.Predicted, Note: text(s.Note)}
		for _, t := range s.Terms {
			one.Terms = append(one.Terms, encodeTerm(t))
		}
		out.Scores = append(out.Scores, one)
	}
	return out
}

func encodeTerm(t policy.Term) term {
	return term{text(t.Name), word(units, t.Unit), number(t.Value), t.Time}
}
