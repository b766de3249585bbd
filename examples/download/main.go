// Download fetches several URLs at once with httpintent.Transport, each with its own
// intents. Pages are queries. Everything else is a bulk transfer, whose size is
// requested first. Small and large objects of one host may so use different networks.
//
//	download http://localhost/ http://localhost/image.iso
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"path"
	"sync"

	"github.com/socket-intents/mamma/client/httpintent"
	"github.com/socket-intents/mamma/intent"
)

func main() {
	web := &http.Client{Transport: new(httpintent.Transport)}
	failed := make([]error, len(os.Args)-1)
	var wg sync.WaitGroup
	for i, url := range os.Args[1:] {
		wg.Go(func() { failed[i] = fetch(context.Background(), web, url) })
	}
	wg.Wait()
	web.CloseIdleConnections()
	if err := errors.Join(failed...); err != nil {
		fmt.Fprintln(os.Stderr, "download:", err)
		os.Exit(1)
	}
}

func fetch(ctx context.Context, web *http.Client, url string) error {
	about, err := intents(ctx, web, url)
	if err != nil {
		return err
	}
	var from string
	ctx = intent.NewContext(ctx, about) // this is the one line that it takes
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(c httptrace.GotConnInfo) { from = c.Conn.LocalAddr().String() },
	})
	resp, err := do(ctx, web, http.MethodGet, url)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d bytes from %s (%s)\n", url, n, from, about.String())
	return nil
}

// intents returns the intents for a URL.
func intents(ctx context.Context, web *http.Client, url string) (intent.Set, error) {
	query := intent.Set{}.WithCategory(intent.CategoryQuery)
	switch path.Ext(url) {
	case "", ".html", ".json":
		return query, nil
	}
	resp, err := do(intent.NewContext(ctx, query), web, http.MethodHead, url)
	if err != nil {
		return query, err
	}
	_ = resp.Body.Close()
	bulk := intent.Set{}.WithCategory(intent.CategoryBulkTransfer)
	if resp.ContentLength >= 0 {
		bulk = bulk.WithFileSize(resp.ContentLength)
	}
	return bulk, nil
}

func do(ctx context.Context, web *http.Client, method, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	return web.Do(req)
}
