// Socksbench compares SOCKS 5 servers on this host's loopback in one run: muacsocksd,
// the least that such a server in Go must do, with and without the net package, no
// proxy at all, and dante-server and microsocks if they are installed. Figures of
// different runs cannot be compared. So each server is measured several times in turn.
// The medians are shown, with their ratio to muacsocksd's.
//
//	go build -o build/ ./cmd/muacsocksd && go run ./tests/socksbench --muacsocksd build/muacsocksd
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "socksbench: %v\n", err)
		os.Exit(1)
	}
}

type options struct {
	muacsocksd string
	also       []string
	conns      []int
	rounds     int
	each       time.Duration
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	var o options
	fs := pflag.NewFlagSet("socksbench", pflag.ContinueOnError)
	fs.Usage = func() { _, _ = fmt.Fprint(os.Stderr, "Usage of socksbench:\n"+fs.FlagUsagesWrapped(80)) }
	fs.StringVar(&o.muacsocksd, "muacsocksd", "build/muacsocksd", "`program` to compare")
	fs.StringArrayVar(&o.also, "also", nil, "`name=command` of another server; {port} stands for its port")
	fs.IntSliceVar(&o.conns, "conns", []int{4, 64}, "connections at the same time")
	fs.IntVar(&o.rounds, "rounds", 5, "times that everything is measured")
	fs.DurationVar(&o.each, "each", time.Second, "how long each measurement takes")
	serve := fs.String("serve", "", "serve as the least server of this `name`")
	listen := fs.String("listen", "", "`address` to serve at")
	_, _ = fs.MarkHidden("serve"), fs.MarkHidden("listen") // the flags exist
	if err := fs.Parse(args); err != nil {
		return err
	}
	switch *serve {
	case "":
	case nameLeast:
		return serveLeast(*listen)
	case nameLoop:
		return serveLoop(*listen)
	default:
		return fmt.Errorf("no server %q", *serve)
	}
	servers, missing, err := servers(o)
	if err != nil {
		return err
	}
	for _, m := range missing {
		if _, err := fmt.Fprintf(stdout, "%s is not installed: left out\n", m); err != nil {
			return err
		}
	}
	results, err := measureAll(ctx, o, servers)
	if err != nil {
		return err
	}
	return report(stdout, o, servers, results)
}

// figures are the results of one round.
type figures struct {
	gbits  float64 // of payload per second
	cpu    float64 // seconds of the server per gigabit
	setUps float64 // per second
}

// key says which measurement figures belong to.
type key struct {
	server string
	conns  int
}

func measureAll(ctx context.Context, o options, servers []*server) (map[key][]figures, error) {
	p, err := newPeer()
	if err != nil {
		return nil, err
	}
	defer p.close()
	results := map[key][]figures{}
	for _, s := range servers {
		if err := s.start(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		defer s.stop()
	}
	for range o.rounds {
		for _, n := range o.conns {
			for _, s := range servers {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				f, err := measure(p, s, n, o.each)
				if err != nil {
					return nil, fmt.Errorf("%s with %d connections: %w", s.name, n, err)
				}
				k := key{s.name, n}
				results[k] = append(results[k], f)
			}
		}
	}
	return results, nil
}

// report prints the medians.
func report(stdout io.Writer, o options, servers []*server, results map[key][]figures) error {
	tw := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "SERVER\tCONNS\tGbit/s\tRATIO\tCPU s/Gbit\tRATIO\tSET-UPS/s\tRATIO")
	for _, n := range o.conns {
		ours := medians(results[key{servers[0].name, n}])
		for _, s := range servers {
			m := medians(results[key{s.name, n}])
			bulk, cpu := "-\t-", "-\t-"
			if !s.setUpsOnly {
				bulk = fmt.Sprintf("%.1f\t%.2f", m.gbits, ours.gbits/m.gbits)
			}
			if s.command != nil && !s.setUpsOnly {
				cpu = fmt.Sprintf("%.3f\t%.2f", m.cpu, ours.cpu/m.cpu)
			}
			_, _ = fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%.0f\t%.2f\n", s.name, n, bulk, cpu, m.setUps, ours.setUps/m.setUps)
		}
	}
	_, _ = fmt.Fprintf(tw, "%s\n", strings.TrimSpace("RATIO is "+servers[0].name+"'s figure divided by the line's."))
	return tw.Flush()
}

func medians(all []figures) figures {
	median := func(of func(figures) float64) float64 {
		var v []float64
		for _, f := range all {
			v = append(v, of(f))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return figures{
		gbits:  median(func(f figures) float64 { return f.gbits }),
		cpu:    median(func(f figures) float64 { return f.cpu }),
		setUps: median(func(f figures) float64 { return f.setUps }),
	}
}
