package control

import (
	"math"
	"net/netip"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// The functions below convert values that may be unknown. Unknown ones become nil.

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func number(f float64) *float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return &f
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// positive converts durations for which zero means unknown.
func positive(d time.Duration) *float64 {
	if d <= 0 {
		return nil
	}
	return number(millis(d))
}

// age returns the age of something that happened at t. If the clock was set back, it is
// 0.
func age(t, now time.Time) *float64 {
	if t.IsZero() {
		return nil
	}
	return number(millis(max(0, now.Sub(t))))
}

func known[T any](v T) *T { return &v }

func prefixes(v *mam.View, list []*policy.Prefix, now time.Time) []Prefix {
	out := make([]Prefix, 0, len(list))
	for _, p := range list {
		out = append(out, prefix(v, p, now))
	}
	return out
}

func prefix(v *mam.View, p *policy.Prefix, now time.Time) Prefix {
	out := Prefix{
		Prefix: p.CIDR.String(), Name: text(p.Name), Interface: p.Interface, AltNames: append([]string{}, v.AltNames[p.Interface]...), Index: p.Index,
		Family: p.Family().String(), Addresses: []string{},
		Default: p.Default, Cost: p.Cost.String(), Budget: budget(p.Budget), Options: map[string]string{}, Facts: []Fact{}, Device: text(v.Devices[p.ID]),
		Health: Health{State: p.Health.State.String(), Reason: text(p.Health.Reason), Since: stamp(p.Health.Since)},
		Path:   path(p, now), Link: link(p, now), Wifi: wifi(p, now),
	}
	told := v.Told[p.ID]
	out.CostSource, out.ResolversSource = text(told.Cost), text(told.Resolvers)
	if exceeded(p.Budget) {
		out.CostSource = known("budget")
	}
	for _, f := range told.Facts {
		out.Facts = append(out.Facts, Fact{Name: f.Name, Value: f.Value, Source: f.Source, Overruled: f.Overruled})
	}
	for _, a := range p.Addrs {
		out.Addresses = append(out.Addresses, a.String())
	}
	for name, o := range p.Options {
		out.Options[name] = o.Text
	}
	if r, own := v.Resolvers[p.ID]; own {
		out.Resolvers, out.OwnResolvers = servers(r), true
	} else {
		out.Resolvers = servers(v.Resolver)
	}
	return out
}

func budget(b policy.Budget) *Budget {
	if b.Limit == 0 {
		return nil
	}
	return &Budget{Limit: b.Limit, Used: b.Used, Reset: b.Reset, Exceeded: exceeded(b)}
}

func exceeded(b policy.Budget) bool { return b.Limit > 0 && b.Used >= b.Limit }

// servers lists the servers that a resolver asks; nil if the resolver does not tell.
func servers(r mam.Resolver) []string {
	s, ok := r.(interface{ Servers() []netip.AddrPort })
	if !ok {
		return nil
	}
	out := []string{}
	for _, a := range s.Servers() {
		out = append(out, a.String())
	}
	return out
}

func interfaces(v *mam.View, now time.Time) []Interface {
	out := []Interface{}
	at := map[string]int{}
	for _, p := range v.Prefixes {
		i, seen := at[p.Interface]
		if !seen {
			i = len(out)
			at[p.Interface] = i
			out = append(out, Interface{Name: p.Interface, Index: p.Index, Link: link(p, now), Wifi: wifi(p, now)})
		}
		out[i].Prefixes = append(out[i].Prefixes, p.CIDR.String())
	}
	return out
}

func ref(p *policy.Prefix) *PrefixRef {
	if p == nil {
		return nil
	}
	out := &PrefixRef{Prefix: p.CIDR.String(), Name: text(p.Name), Interface: p.Interface}
	if a := p.Addr(); a.IsValid() {
		out.Address = a.String()
	}
	return out
}

func decision(r *mam.Record) Decision {
	d := &r.Decision
	out := Decision{
		Seq: r.Seq, Time: r.Time, TookMS: millis(r.Took), Kind: r.Kind.String(), App: app(r.App), Origin: origin(r.Origin),
		Transport: r.Network.Transport.String(), Family: r.Network.Family.String(),
		Host: text(r.Host), Service: text(r.Service), Intents: intents(r.Intents), Selection: text(r.Selection), Selected: r.Selected, Policy: text(r.Policy),
		Chosen: ref(d.Prefix), Alternates: []PrefixRef{}, Only: d.Only, Refused: r.Refused, Reused: r.Reused, Multipath: d.Multipath,
		Resolution: resolution(d.Resolution), Reason: d.Reason, Scores: []Score{}, Fallback: text(r.Fallback), Leased: r.Uses,
	}
	if r.ID != uuid.Nil {
		out.ID = r.ID.String()
	}
	if r.Remote.IsValid() {
		out.Remote = text(r.Remote.String())
	}
	if r.Bound.IsValid() {
		out.Bound = text(r.Bound.String())
	}
	for _, p := range d.Alternates {
		out.Alternates = append(out.Alternates, *ref(p))
	}
	for i := range d.Scores {
		out.Scores = append(out.Scores, score(&d.Scores[i], r.Time))
	}
	if o := r.Outcome; o != nil {
		out.Outcome = &Outcome{Candidate: int(o.Candidate), TookMS: millis(o.Took), Errno: int(o.Errno), PlainTCP: o.PlainTCP}
		if o.Errno != 0 {
			out.Outcome.Error = text(syscall.Errno(o.Errno).Error())
		}
	}
	return out
}

func app(a policy.App) App {
	out := App{UID: a.UID, Command: text(a.Command), Executable: text(a.Executable)}
	if a.PID != 0 {
		out.PID = &a.PID
	}
	return out
}

func origin(o *mam.Origin) *Origin {
	if o == nil {
		return nil
	}
	out := &Origin{Command: text(o.Command), Source: text(o.Source)}
	if o.UID != wire.UnknownUID {
		out.UID = &o.UID
	}
	if o.PID != 0 {
		out.PID = &o.PID
	}
	return out
}

func resolution(r policy.Resolution) string {
	switch r {
	case policy.ResolveDefault:
		return "default"
	case policy.ResolveNever:
		return "never"
	default:
		return "prefix"
	}
}

func score(s *policy.Score, at time.Time) Score {
	out := Score{Terms: []Term{}, PredictedMS: positive(s.Predicted), Note: text(s.Note)}
	if s.Prefix != nil {
		out.Prefix, out.Interface = s.Prefix.CIDR.String(), s.Prefix.Interface
	}
	for _, t := range s.Terms {
		out.Terms = append(out.Terms, Term{Name: t.Name, Unit: unit(t.Unit), Value: number(t.Value), AgeMS: age(t.Time, at)})
	}
	return out
}

// The units of a Term.
const (
	UnitMilliseconds = "ms"
	UnitByteRate     = "bytes_per_second"
	UnitBytes        = "bytes"
	UnitCount        = "count"
	UnitProbability  = "probability"
)

func unit(u policy.Unit) string {
	switch u {
	case policy.Milliseconds:
		return UnitMilliseconds
	case policy.ByteRate:
		return UnitByteRate
	case policy.Bytes:
		return UnitBytes
	case policy.Count:
		return UnitCount
	case policy.Probability:
		return UnitProbability
	}
	return ""
}

func intents(s intent.Set) Intents {
	var out Intents
	for o, v := range s.All() {
		switch o {
		case intent.OptCategory:
			out.Category = known(o.Word(v))
		case intent.OptFileSize:
			out.FileSize = known(v)
		case intent.OptDuration:
			out.Duration = known(v)
		case intent.OptBitrate:
			out.Bitrate = known(v)
		case intent.OptBurstiness:
			out.Burstiness = known(o.Word(v))
		case intent.OptTimeliness:
			out.Timeliness = known(o.Word(v))
		case intent.OptResilience:
			out.Resilience = known(o.Word(v))
		}
	}
	return out
}
