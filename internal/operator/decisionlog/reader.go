package decisionlog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
)

// Entry is a decision of a policy, or a transfer that has ended.
type Entry struct {
	Line     int              // in the file, from 1
	Policy   string           // the policy that made the decision; for a transfer, the one that had decided about it
	Request  *policy.Request  // nil: the entry is a transfer
	Decision policy.Decision  // its Socket points into Request.Sockets
	Transfer *policy.Transfer // nil: the entry is a decision
}

// LineError says what is wrong with a line.
type LineError struct {
	Line int // from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the cause.
func (e *LineError) Unwrap() error { return e.Err }

// ErrLineTooLong means that a line is longer than MaxLine.
var ErrLineTooLong = errors.New("longer than " + fmt.Sprint(MaxLine) + " bytes")

// Reader reads a file of decisions. It holds one line and the prefixes described last,
// whatever the file contains. It is not safe for concurrent use.
type Reader struct {
	in       *bufio.Reader
	n        int // number of the latest line
	prefixes map[int]*policy.Prefix
}

// NewReader makes a Reader.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, 64<<10), prefixes: map[int]*policy.Prefix{}}
}

// Next returns the next decision or transfer, and io.EOF after the last one. After a *LineError
// the caller can call Next again for the lines that follow. Other errors come from
// the underlying reader.
func (r *Reader) Next() (*Entry, error) {
	for {
		text, err := r.line()
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		entry, err := r.decode(text)
		if err != nil {
			return nil, &LineError{r.n, err}
		}
		if entry != nil {
			entry.Line = r.n
			return entry, nil
		}
	}
}

// line reads a line. It skips a line that is too long, and returns ErrLineTooLong.
func (r *Reader) line() ([]byte, error) {
	var text []byte
	length := 0
	for {
		part, err := r.in.ReadSlice('\n')
		length += len(part)
		if length <= MaxLine {
			text = append(text, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || length == 0):
			return nil, err
		}
		r.n++
		if length > MaxLine {
			return nil, &LineError{r.n, ErrLineTooLong}
		}
		return text, nil
	}
}

// decode returns the entry of a line, nil if the line has none.
func (r *Reader) decode(b []byte) (*Entry, error) {
	var l line
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	switch l {
	case line{}:
	case line{Log: l.Log}:
		if l.Log.Version != version {
			return nil, fmt.Errorf("version %d of the format is not known, only %d", l.Log.Version, version)
		}
		clear(r.prefixes)
		return nil, nil
	case line{Prefix: l.Prefix}:
		if len(b) > maxPrefixLine {
			return nil, fmt.Errorf("a prefix in %d bytes, more than %d", len(b), maxPrefixLine)
		}
		return nil, r.decodePrefix(l.Prefix)
	case line{Decision: l.Decision}:
		return r.decodeDecision(l.Decision)
	case line{Transfer: l.Transfer}:
		return r.decodeTransfer(l.Transfer)
	}
	return nil, errors.New(`wants one of "log", "prefix", "decision" and "transfer"`)
}

func (r *Reader) decodePrefix(in *prefix) error {
	if in.N < 0 || in.N >= maxPrefixes {
		return fmt.Errorf("prefix number %d is not between 0 and %d", in.N, maxPrefixes-1)
	}
	cost, err := value[policy.Cost](costs, "cost", in.Cost)
	if err != nil {
		return err
	}
	p := &policy.Prefix{
		ID:        policy.PrefixID{Interface: string(in.Interface), Prefix: in.Prefix},
		Interface: string(in.Interface), Index: in.Index, CIDR: in.Prefix, Name: string(in.Name), Addrs: in.Addrs, Default: in.Default, Cost: cost,
		Budget: policy.Budget(in.Budget), Stats: policy.PathStats(in.Stats), Link: decodeLink(in.Link), Wifi: (*policy.WifiStats)(in.Wifi),
	}
	if in.ID != nil {
		p.ID = policy.PrefixID{Interface: string(in.ID.Interface), Prefix: in.ID.Prefix}
	}
	if h := in.Health; h != nil {
		state, err := value[policy.HealthState](states, "health", h.State)
		if err != nil {
			return err
		}
		p.Health = policy.Health{State: state, Reason: string(h.Reason), Since: h.Since}
	}
	for _, o := range in.Options {
		if p.Options == nil {
			p.Options = policy.Options{}
		}
		setting := policy.NewOption(string(o.Text))
		if o.Value != nil {
			setting.Number, setting.Numeric = float64(*o.Value), true
		}
		p.Options[string(o.Name)] = setting
	}
	r.prefixes[in.N] = p
	return nil
}

func decodeLink(s linkStats) policy.LinkStats {
	return policy.LinkStats{
		Time: s.Time, DownRate: s.DownRate, UpRate: s.UpRate, DownRateMax: s.DownRateMax, UpRateMax: s.UpRateMax,
		DownRateMaxTime: s.DownRateMaxTime, UpRateMaxTime: s.UpRateMaxTime, DownSMA: s.DownSMA,
		DownSMAMax: policy.Windowed(s.DownSMAMax), DownSMAMin: policy.Windowed(s.DownSMAMin), DownSMAQuantile: policy.Windowed(s.DownSMAQuantile),
		DownBytes: s.DownBytes, UpBytes: s.UpBytes, RxErrors: s.RxErrors, TxErrors: s.TxErrors,
	}
}

// prefix returns the prefix with the number n. If n is nil, the line names no prefix,
// and prefix returns nil. A number that no line has described is an error.
func (r *Reader) prefix(n *int) (*policy.Prefix, error) {
	if n == nil {
		return nil, nil
	}
	p := r.prefixes[*n]
	if p == nil {
		return nil, fmt.Errorf("prefix number %d is not described", *n)
	}
	return p, nil
}

func (r *Reader) prefixesOf(numbers []int) (list []*policy.Prefix, err error) {
	for _, n := range numbers {
		p, err := r.prefix(&n)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

func (r *Reader) decodeDecision(in *decision) (*Entry, error) {
	request, err := r.decodeRequest(in)
	if err != nil {
		return nil, err
	}
	d, err := r.decodeAnswer(&in.Answer, request)
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	return &Entry{Policy: string(in.Policy), Request: request, Decision: d}, nil
}

func (r *Reader) decodeRequest(in *decision) (*policy.Request, error) {
	out := &policy.Request{
		Now: in.Now, Host: string(in.Host), Service: string(in.Service), Port: in.Port, Remote: in.Remote, Bound: in.Bound, Aside: in.Aside,
		App: decodeApp(in.App),
	}
	var errs [6]error
	out.Kind, errs[0] = value[policy.Kind](kinds, "kind", in.Kind)
	out.Network.Transport, errs[1] = value[policy.Transport](transports, "transport", in.Transport)
	out.Network.Family, errs[2] = value[policy.Family](families, "family", in.Family)
	out.BoundPrefix, errs[3] = r.prefix(in.BoundPrefix)
	out.Prefixes, errs[4] = r.prefixesOf(in.Prefixes)
	out.StandIn, errs[5] = r.prefix(in.StandIn)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	var err error
	if out.Intents, err = decodeIntents(in.Intents); err != nil {
		return nil, err
	}
	if n := len(in.DestStats); n != 0 && n != len(in.Prefixes) {
		return nil, fmt.Errorf("%d destination statistics for %d prefixes", n, len(in.Prefixes))
	}
	for _, s := range in.DestStats {
		out.DestStats = append(out.DestStats, policy.PathStats(s))
	}
	if n := len(in.Connections); n != 0 && n != len(in.Prefixes) {
		return nil, fmt.Errorf("%d counts of connections for %d prefixes", n, len(in.Prefixes))
	}
	for _, c := range in.Connections {
		out.Connections = append(out.Connections, policy.Connections(c))
	}
	for _, s := range in.Sockets {
		p, err := r.prefix(s.Prefix)
		if err != nil {
			return nil, err
		}
		out.Sockets = append(out.Sockets, policy.Socket{FD: s.FD, Local: s.Local, Prefix: p, Multipath: s.Multipath})
	}
	return out, nil
}

func (r *Reader) decodeTransfer(in *transfer) (*Entry, error) {
	out := &policy.Transfer{
		Token: in.Token, App: decodeApp(in.App), Host: string(in.Host), Remote: in.Remote, Port: in.Port, Measured: in.Measured, Reused: in.Reused, Partial: in.Partial, Bytes: in.Bytes,
		Duration: in.Duration, Connect: in.Connect, RTT: in.RTT, MinRTT: in.MinRTT, Predicted: in.Predicted, End: in.End,
	}
	var errs [3]error
	out.Kind, errs[0] = value[policy.Kind](kinds, "kind", in.Kind)
	out.Prefix, errs[1] = r.prefix(in.Prefix)
	out.Intents, errs[2] = decodeIntents(in.Intents)
	return &Entry{Policy: string(in.Policy), Transfer: out}, errors.Join(errs[:]...)
}

func decodeApp(in app) policy.App {
	return policy.App{UID: in.UID, PID: in.PID, Command: string(in.Command), Executable: string(in.Executable)}
}

func decodeIntents(in map[string]int64) (out intent.Set, _ error) {
	for name, v := range in {
		o, ok := intentOf(name)
		if !ok {
			return out, fmt.Errorf("unknown intent %q", name)
		}
		out = out.With(o, v)
	}
	return out, nil
}

func intentOf(name string) (intent.Option, bool) {
	for o := intent.Option(1); o.Valid(); o++ {
		if o.String() == name {
			return o, true
		}
	}
	return 0, false
}

func (r *Reader) decodeAnswer(in *answer, request *policy.Request) (policy.Decision, error) {
	d := policy.Decision{Only: in.Only, Multipath: in.Multipath, Race: in.Race, Token: in.Token, Reason: string(in.Reason)}
	if l := in.Lease; l != nil {
		d.Lease = policy.Lease{
			For: l.For, Uses: l.Uses, Bytes: l.Bytes, Measured: l.Measured, AnyName: l.AnyName,
			Ignored: policy.IntentMask(l.Ignored), Sizes: policy.SizeRange{From: l.SizeFrom, To: l.SizeTo},
		}
	}
	var errs [3]error
	d.Prefix, errs[0] = r.prefix(in.Prefix)
	d.Alternates, errs[1] = r.prefixesOf(in.Alternates)
	d.Resolution, errs[2] = value[policy.Resolution](resolutions, "resolution", in.Resolution)
	if err := errors.Join(errs[:]...); err != nil {
		return d, err
	}
	if n := in.Socket; n != nil {
		if *n < 0 || *n >= len(request.Sockets) {
			return d, fmt.Errorf("socket %d of %d", *n, len(request.Sockets))
		}
		d.Socket = &request.Sockets[*n]
	}
	for _, o := range in.Options {
		d.Options = append(d.Options, policy.SocketOption(o))
	}
	for _, s := range in.Scores {
		p, err := r.prefix(s.Prefix)
		if err != nil {
			return d, err
		}
		one := policy.Score{Prefix: p, Predicted: s.Predicted, Note: string(s.Note)}
		for _, t := range s.Terms {
			unit, err := value[policy.Unit](units, "unit", t.Unit)
			if err != nil {
				return d, err
			}
			one.Terms = append(one.Terms, policy.Term{Name: string(t.Name), Unit: unit, Value: float64(t.Value), Time: t.Time})
		}
		d.Scores = append(d.Scores, one)
	}
	return d, nil
}
