package control

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// The tags in Path, Link and Wifi say which metric each field holds. So this package
// needs no list of metrics besides the table in package policy. A metric that is added
// to that table needs only a field in the schema here. A test finds metrics that have
// no field.

// field is a field of Path, Link or Wifi that holds a metric.
type field struct {
	metric policy.Metric
	index  []int // for reflect.Value.FieldByIndex
}

var (
	pathFields = fieldsOf(reflect.TypeFor[Path]())
	linkFields = fieldsOf(reflect.TypeFor[Link]())
	wifiFields = fieldsOf(reflect.TypeFor[Wifi]())
)

// fieldsOf returns the fields of t that hold metrics. It panics if a tag names no
// metric.
func fieldsOf(t reflect.Type) []field {
	var list []field
	add := func(name string, index ...int) {
		m, ok := policy.ParseMetric(name)
		if !ok {
			panic(fmt.Sprintf("control: a field of %v holds %q, which is not a metric", t, name))
		}
		list = append(list, field{m, index})
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, ok := f.Tag.Lookup("metric")
		switch {
		case !ok:
		case f.Type == reflect.TypeFor[Windowed]():
			for j := range f.Type.NumField() {
				window := name + f.Type.Field(j).Tag.Get("window")
				if slices.Contains(policy.MetricNames(), window) { // not every figure has every window
					add(window, i, j)
				}
			}
		default:
			add(name, i)
		}
	}
	return list
}

// fill writes the measured values of p into the struct that to points to. A field stays
// nil if the value of its metric is unknown.
func fill(to any, fields []field, p *policy.Prefix) {
	v := reflect.ValueOf(to).Elem()
	for _, f := range fields {
		if n := measured(f.metric, p); n != nil {
			pointer := v.FieldByIndex(f.index)
			pointer.Set(reflect.New(pointer.Type().Elem()))
			set(pointer.Elem(), *n)
		}
	}
}

// set sets the number v to n. If v is an integer, n is whole. Package policy has all
// values as float64, so those above 2^53 have been rounded.
func set(v reflect.Value, n float64) {
	switch {
	case v.CanInt():
		v.SetInt(int64(n))
	case v.CanUint():
		if n >= 1<<64 {
			v.SetUint(math.MaxUint64)
		} else {
			v.SetUint(uint64(n))
		}
	default:
		v.SetFloat(n)
	}
}

// measured returns the value of m in the unit of the schema, nil if it is unknown. The
// schema has bytes per second for every rate, and ratios in place of percent.
func measured(m policy.Metric, p *policy.Prefix) *float64 {
	v, ok := m.Measured(p)
	if !ok {
		return nil
	}
	switch m.Symbol() {
	case "Mbit/s":
		v = math.Round(v * 1e6 / 8) // the link layer's rates are whole bytes per second
	case "%":
		v /= 100
	}
	return number(v)
}

func path(p *policy.Prefix, now time.Time) Path {
	s := &p.Stats
	out := Path{AgeMS: age(s.Time, now)}
	fill(&out, pathFields, p)
	if !s.SampleTime.IsZero() {
		out.SampleAgeMS, out.RetransUp = age(s.SampleTime, now), number(s.RetransUp)
	}
	return out
}

func link(p *policy.Prefix, now time.Time) Link {
	s := &p.Link
	out := Link{AgeMS: age(s.Time, now), DownMaxAgeMS: age(s.DownRateMaxTime, now), UpMaxAgeMS: age(s.UpRateMaxTime, now)}
	fill(&out, linkFields, p)
	return out
}

func wifi(p *policy.Prefix, now time.Time) *Wifi {
	if p.Wifi == nil {
		return nil
	}
	out := &Wifi{AgeMS: age(p.Wifi.Time, now)}
	fill(out, wifiFields, p)
	return out
}
