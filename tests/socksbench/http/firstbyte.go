package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

// firstByteAim is the allowed delay of an answer's first byte compared with no proxy,
// in the median.
const firstByteAim = 200 * time.Microsecond

// slowly answers with a length, and sends the first byte at once and the rest later. A
// proxy that waits for more than the first byte is thereby detected.
func slowly(w http.ResponseWriter, _ *http.Request) {
	const size = 1000
	w.Header().Set("Content-Length", fmt.Sprint(size))
	_, _ = w.Write(make([]byte, 1))
	_ = http.NewResponseController(w).Flush()
	time.Sleep(3 * time.Millisecond)
	_, _ = w.Write(make([]byte, size-1))
}

// firstBytes measures the time from a request to the first byte of the answer's body,
// on a kept connection. It uses the proxies in turn and shows the medians.
func firstBytes(ctx context.Context, list []*proxy, target string, times int) error {
	clients := make([]*http.Client, len(list))
	for i, p := range list {
		tr := &http.Transport{DialContext: new(net.Dialer).DialContext}
		if p.addr != "" {
			tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: p.addr})
		}
		defer tr.CloseIdleConnections()
		clients[i] = &http.Client{Transport: tr}
	}
	took := make([][]time.Duration, len(list))
	for n := range times + 10 {
		for i, c := range clients {
			d, err := firstByte(ctx, c, target)
			if err != nil {
				return fmt.Errorf("%s: first byte: %w", list[i].name, err)
			}
			if n >= 10 { // the first ones are a warm-up
				took[i] = append(took[i], d)
			}
		}
	}
	var direct time.Duration
	for i, p := range list {
		slices.Sort(took[i])
		if p.addr == "" {
			direct = took[i][len(took[i])/2]
		}
	}
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "FIRST BYTE\tMEDIAN\tLATER THAN DIRECTLY")
	for i, p := range list {
		m := took[i][len(took[i])/2]
		_, _ = fmt.Fprintf(tw, "%s\t%v\t%v\n", p.name, m.Round(time.Microsecond), (m - direct).Round(time.Microsecond))
	}
	_, _ = fmt.Fprintf(tw, "The aim is %v at most.\n", firstByteAim)
	return tw.Flush()
}

func firstByte(ctx context.Context, c *http.Client, target string) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return 0, errors.New(resp.Status)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
		return 0, err
	}
	d := time.Since(begun)
	_, err = io.Copy(io.Discard, resp.Body) // the connection is kept only if the body was read
	return d, err
}
