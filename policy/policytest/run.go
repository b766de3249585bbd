package policytest

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/policy"
)

// Constructor makes a policy, as the New of every policy does.
type Constructor = func(policy.Config) (policy.Policy, error)

// Case is a row of a table test of a policy. It is an alias of a struct type without a
// name, so that tables may leave out the names of the fields. New fields will only be
// added at the end.
type Case = struct {
	Name    string
	Request *policy.Request
	Want    Answer
	Log     string // for a LineLogger, the line that it logs
}

// Make returns a function for Run that makes a new policy with the given settings,
// which have the form that Config takes.
func Make(constructor Constructor, settings ...string) func(*testing.T) policy.Policy {
	return func(t *testing.T) policy.Policy {
		t.Helper()
		p, err := constructor(Config(settings...))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

// Run lets a policy made by fresh decide on each row's request, in a subtest with the
// row's name. A row fails if the decision is not sound (see Sound), or is not the
// wanted one.
func Run(t *testing.T, fresh func(*testing.T) policy.Policy, cases []Case) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			p := fresh(t)
			d := p.Choose(c.Request)
			if err := Sound(c.Request, d); err != nil {
				t.Error(err)
			}
			for _, difference := range c.Want.differences(AnswerOf(d)) {
				t.Error(difference)
			}
			if l, ok := p.(policy.LineLogger); ok {
				if got := l.LogLine(c.Request, d); got != c.Log {
					t.Errorf("LogLine: %q, want %q", got, c.Log)
				}
			}
		})
	}
}

// Answer is the part of a decision that most table tests compare, in words.
type Answer struct {
	Prefix     string // the interface of its prefix; "": none
	FD         int32  // of the socket that is used again; 0: none
	Alternates string // the interfaces of its alternates, best first, joined by spaces
	Only       bool
	Multipath  bool
	Resolution policy.Resolution
	Reason     string
}

// AnswerOf extracts the Answer from a decision.
func AnswerOf(d policy.Decision) Answer {
	a := Answer{Prefix: Name(d.Prefix), Alternates: Names(d.Alternates), Only: d.Only, Multipath: d.Multipath, Resolution: d.Resolution, Reason: d.Reason}
	if d.Socket != nil {
		a.FD = d.Socket.FD
	}
	return a
}

// differences describes, field by field, how got differs from a.
func (a Answer) differences(got Answer) []string {
	var list []string
	x, y := reflect.ValueOf(a), reflect.ValueOf(got)
	for i := range x.NumField() {
		if !x.Field(i).Equal(y.Field(i)) {
			list = append(list, fmt.Sprintf("%s: %#v, want %#v", x.Type().Field(i).Name, y.Field(i), x.Field(i)))
		}
	}
	return list
}

// Name returns the interface of p, "" for nil.
func Name(p *policy.Prefix) string {
	if p == nil {
		return ""
	}
	return p.Interface
}

// Names returns the interfaces of a list, joined by spaces.
func Names(list []*policy.Prefix) string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = Name(p)
	}
	return strings.Join(names, " ")
}

// Refused checks that a configuration was refused with an error that contains each
// of the given texts.
func Refused(t testing.TB, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("the configuration was accepted")
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}
