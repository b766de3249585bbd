// A policy that misbehaves in a way that the port of a request names.
package main

import (
	"math"
	"os"
	"strings"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// The ports. Requests to all others get the default prefix.
const (
	panics    = 1
	spins     = 2
	foreign   = 3 // a prefix that was not offered
	confused  = 4 // everything else that makes no sense
	exits     = 5
	exitsWell = 6 // with the status of an orderly end
)

type unruly struct{}

func (unruly) Choose(r *policy.Request) policy.Decision {
	d := policy.Decision{Prefix: r.DefaultPrefix(), Reason: "as usual"}
	switch r.Port {
	case panics:
		panic("out of order")
	case spins:
		for { //nolint:staticcheck // that is what it is for
		}
	case foreign:
		d.Prefix = &policy.Prefix{Interface: "none"}
	case confused:
		d.Alternates = []*policy.Prefix{nil, d.Prefix, d.Prefix, {}}
		d.Resolution = 77
		d.Reason = strings.Repeat("\x00\xff\x1b[2J\n", 10_000)
		d.Scores = []policy.Score{{Predicted: -1, Terms: []policy.Term{{Unit: 77, Value: math.NaN()}, {Value: math.Inf(1)}}}, {Prefix: &policy.Prefix{}}}
		d.Options = []policy.SocketOption{{Level: -1, Name: -1, Value: make([]byte, 1<<20)}}
	case exits:
		os.Exit(3)
	case exitsWell:
		os.Exit(0)
	}
	return d
}

func (unruly) Reconfigure(string, []*policy.Prefix) error { panic("out of order") }

func (unruly) Close() error { panic("out of order") }

// New does what its setting says.
func New(c policy.Config) (policy.Policy, error) {
	var options struct {
		New string `mam:"new"`
	}
	if err := c.Decode(&options); err != nil {
		return nil, err
	}
	switch options.New {
	case "panics":
		panic("out of order")
	case "hangs":
		time.Sleep(math.MaxInt64)
	case "is nothing":
		return nil, nil
	}
	return unruly{}, nil
}

func main() {}
