package decisionlog

import (
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"time"

	"pgregory.net/rapid"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
)

// fill sets everything in v to drawn values, whatever fields the contract has. It leaves
// pointers to prefixes to drawRequest.
func fill(t *rapid.T, v reflect.Value) {
	switch v.Addr().Interface().(type) {
	case *time.Time:
		if rapid.Bool().Draw(t, "time") {
			v.Set(reflect.ValueOf(time.Unix(rapid.Int64Range(0, 1e11).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns"))))
		}
		return
	case *netip.Addr:
		v.Set(reflect.ValueOf(drawAddr(t)))
		return
	case *netip.AddrPort:
		if a := drawAddr(t); a.IsValid() {
			v.Set(reflect.ValueOf(netip.AddrPortFrom(a, rapid.Uint16().Draw(t, "port"))))
		}
		return
	case *netip.Prefix:
		if a := drawAddr(t).WithZone(""); a.IsValid() {
			v.Set(reflect.ValueOf(netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits"))))
		}
		return
	case *policy.Option:
		o := policy.NewOption(rapid.SampledFrom([]string{"", "1", "1e3", "-0", "text", "NaN", "\xff"}).Draw(t, "option"))
		if rapid.Bool().Draw(t, "other value") {
			o.Number, o.Numeric = rapid.Float64().Draw(t, "value"), true
		}
		v.Set(reflect.ValueOf(o))
		return
	case *intent.Set:
		var s intent.Set
		for o := intent.Option(1); o.Valid(); o++ {
			if rapid.Bool().Draw(t, "intent") {
				s = s.With(o, rapid.Int64().Draw(t, "value"))
			}
		}
		v.Set(reflect.ValueOf(s))
		return
	case *policy.Kind, *policy.Family, *policy.HealthState, *policy.Cost, *policy.Resolution:
		v.SetUint(rapid.Uint64Range(0, 2).Draw(t, "value"))
		return
	case *policy.Transport:
		v.SetUint(rapid.Uint64Range(0, 1).Draw(t, "value"))
		return
	case *policy.Unit:
		v.SetUint(rapid.Uint64Range(0, uint64(policy.Probability)).Draw(t, "value"))
		return
	case **policy.Prefix, *[]*policy.Prefix, **policy.Socket, *[]policy.Score:
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "pointer") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem())
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, "length")
		for i := range n {
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
			fill(t, v.Index(i))
		}
	case reflect.Map:
		for i := range rapid.IntRange(0, 3).Draw(t, "length") {
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			value := reflect.New(v.Type().Elem()).Elem()
			fill(t, value)
			v.SetMapIndex(reflect.ValueOf(fmt.Sprintf("option%d\xfe", i)), value)
		}
	case reflect.String:
		v.SetString(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\xff\x00", "<&>\u2028", ""})).Draw(t, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Float64:
		v.SetFloat(rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, 1e21, math.MaxFloat64, math.SmallestNonzeroFloat64})).Draw(t, "float"))
	case reflect.Int8, reflect.Int32, reflect.Int, reflect.Int64:
		n := rapid.Int64().Draw(t, "int")
		if v.OverflowInt(n) {
			n %= 1 << (v.Type().Bits() - 1)
		}
		v.SetInt(n)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "uint") >> (64 - v.Type().Bits()))
	default:
		panic("decisionlog: nothing fills a " + v.Type().String())
	}
}

func drawAddr(t *rapid.T) netip.Addr {
	return rapid.SampledFrom([]netip.Addr{
		{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("::ffff:192.0.2.1"),
	}).Draw(t, "addr")
}

// drawHost draws prefixes that all have different ids.
func drawHost(t *rapid.T) []*policy.Prefix {
	var list []*policy.Prefix
	for i := range rapid.IntRange(0, 4).Draw(t, "host") {
		p := &policy.Prefix{}
		fill(t, reflect.ValueOf(p).Elem())
		p.ID.Interface = fmt.Sprint(i, p.ID.Interface)
		if rapid.Bool().Draw(t, "plain") {
			p.Interface, p.CIDR = p.ID.Interface, p.ID.Prefix
		}
		list = append(list, p)
	}
	return list
}

// draw draws a request about some of the host's prefixes, and an answer.
func draw(t *rapid.T, host []*policy.Prefix) (*policy.Request, policy.Decision) {
	r, d := &policy.Request{}, policy.Decision{}
	fill(t, reflect.ValueOf(r).Elem())
	fill(t, reflect.ValueOf(&d).Elem())
	r.DestStats, r.Connections = nil, nil
	some := append([]*policy.Prefix{nil}, host...)
	for _, p := range host {
		if rapid.Bool().Draw(t, "candidate") {
			r.Prefixes = append(r.Prefixes, p)
		}
	}
	if rapid.Bool().Draw(t, "destination") {
		for range r.Prefixes {
			var s policy.PathStats
			fill(t, reflect.ValueOf(&s).Elem())
			r.DestStats = append(r.DestStats, s)
		}
	}
	if rapid.Bool().Draw(t, "counted") {
		for range r.Prefixes {
			var c policy.Connections
			fill(t, reflect.ValueOf(&c).Elem())
			r.Connections = append(r.Connections, c)
		}
	}
	r.BoundPrefix = rapid.SampledFrom(some).Draw(t, "bound")
	if len(r.Prefixes) > 0 {
		r.StandIn = rapid.SampledFrom(append(r.Prefixes[:len(r.Prefixes):len(r.Prefixes)], nil)).Draw(t, "stand-in")
	}
	for i := range r.Sockets {
		r.Sockets[i].Prefix = rapid.SampledFrom(some).Draw(t, "on")
	}
	if len(r.Sockets) > 0 && rapid.Bool().Draw(t, "reuse") {
		d.Socket = &r.Sockets[rapid.IntRange(0, len(r.Sockets)-1).Draw(t, "socket")]
	}
	if len(r.Prefixes) > 0 {
		d.Prefix = rapid.SampledFrom(append(r.Prefixes[:len(r.Prefixes):len(r.Prefixes)], nil)).Draw(t, "chosen")
		d.Alternates = rapid.SliceOfN(rapid.SampledFrom(r.Prefixes), 0, 3).Draw(t, "alternates")
		for _, p := range r.Prefixes {
			s := policy.Score{}
			fill(t, reflect.ValueOf(&s).Elem())
			s.Prefix = p
			for i := range s.Terms {
				if rapid.Bool().Draw(t, "odd") {
					s.Terms[i].Value = rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1)}).Draw(t, "value")
				}
			}
			d.Scores = append(d.Scores, s)
		}
	}
	return r, d
}

// drawTransfer draws a transfer over one of the host's prefixes, or over none.
func drawTransfer(t *rapid.T, host []*policy.Prefix) *policy.Transfer {
	var x policy.Transfer
	fill(t, reflect.ValueOf(&x).Elem())
	if n := rapid.IntRange(-1, len(host)-1).Draw(t, "over"); n >= 0 {
		x.Prefix = host[n]
	}
	return &x
}
