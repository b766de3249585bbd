package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

const simpleConfig = `policy "intents" {}
prefix "192.168.0.0/24" {
  default = true
  options { category = "query" }
}
prefix "10.64.0.0/10" {
  options { category = "bulktransfer" }
}
`

// simple fetches the same URL with different intents over two plain networks. It shows
// from which network each request arrived at the server.
func simple(ctx context.Context, program, dir string, out io.Writer) error {
	bed, err := testbed.New(testbed.Config{Networks: []testbed.NetworkConfig{
		{Name: "wifi", Prefix4: netip.MustParsePrefix("192.168.0.23/24")},
		{Name: "lte", Prefix4: netip.MustParsePrefix("10.64.3.9/10")},
	}})
	if err != nil {
		return err
	}
	defer bed.Close()
	d, err := stage.StartDaemon(ctx, bed.Client, program, dir, "intents", simpleConfig)
	if err != nil {
		return err
	}
	defer func() { _ = d.Stop() }()
	actor, err := stage.StartActor(bed.Client)
	if err != nil {
		return err
	}
	defer func() { _ = actor.Close() }()

	const url = "http://192.0.2.1/"
	p := printer{out: out}
	p.line("Two networks of one host:  wifi %v (default route)   lte %v", bed.Networks[0].Client4, bed.Networks[1].Client4)
	p.line(`Policy "intents":          category "query" goes over wifi, "bulktransfer" over lte`)
	p.line("")
	p.line("Fetching %s each time", url)
	p.line("")
	p.line("  %-24s  %-26s  %s", "INTENTS", "THE SERVER SAW", "WHY")
	for _, a := range []struct {
		fetchArgs
		shown string
	}{
		{fetchArgs{URL: url, Plain: true}, "(without mamma)"},
		{fetchArgs{URL: url}, "none"},
		{fetchArgs{URL: url, Intents: "category=query"}, "category=query"},
		{fetchArgs{URL: url, Intents: "category=bulktransfer"}, "category=bulktransfer"},
	} {
		a.Socket = d.Socket
		var got fetched
		if err := actor.Do("fetch", a.fetchArgs, &got); err != nil {
			return fmt.Errorf("%w\n%s", err, d.Output())
		}
		p.line("  %-24s  %-26s  %s", a.shown, fmt.Sprintf("%v (%s)", got.Seen.Client.Addr(), got.Seen.Network), got.Reason)
	}
	return p.err
}

// printer prints lines until one fails.
type printer struct {
	out io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, format+"\n", args...)
	}
}
