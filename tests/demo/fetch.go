package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// fetchTimeout is long for something that takes milliseconds.
const fetchTimeout = 10 * time.Second

// fetchArgs are the arguments of one fetch.
type fetchArgs struct {
	URL     string
	Socket  string // of the daemon
	Intents string // in the form that intent.Parse reads
	Plain   bool   // without the client library
}

// fetched is the result of a fetch.
type fetched struct {
	Seen   testbed.Seen // what the server says
	Reason string
}

// fetch gets a URL on a new connection.
func fetch(a fetchArgs) (got fetched, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	set, err := intent.Parse(a.Intents)
	if err != nil {
		return got, err
	}
	d := &client.Dialer{Daemon: &client.Daemon{Path: a.Socket}, Intents: set}
	defer func() { _ = d.Daemon.Close() }()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if a.Plain {
			got.Reason = "default route"
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		conn, err := d.DialContext(ctx, network, address)
		if info, ok := client.InfoOf(conn); ok {
			got.Reason = info.Reason
			if !info.Decided {
				got.Reason = fmt.Sprintf("dialled plainly: %v", info.Err)
			}
		}
		return conn, err
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL, nil)
	if err != nil {
		return got, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return got, err
	}
	defer func() { _ = resp.Body.Close() }()
	return got, json.NewDecoder(resp.Body).Decode(&got.Seen)
}
