package httpintent_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/httpintent"
	"github.com/socket-intents/mamma/intent"
)

// Each request of a web client goes over the network that suits it.
func ExampleTransport() {
	web := &http.Client{Transport: new(httpintent.Transport)}
	defer web.CloseIdleConnections()

	ctx := intent.NewContext(context.Background(), intent.Set{}.WithCategory(intent.CategoryBulkTransfer))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://www.example.net/image.iso", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := web.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = resp.Body.Close()
}

// A file comes over all networks at once and is saved as its parts arrive.
func ExampleSave() {
	web := &http.Client{Transport: &httpintent.Transport{Split: new(httpintent.Split)}}
	defer web.CloseIdleConnections()

	ctx := intent.NewContext(context.Background(), intent.Set{}.WithCategory(intent.CategoryBulkTransfer))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://www.example.net/image.iso", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := web.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	file, err := os.Create("image.iso")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := errors.Join(httpintent.Save(file, resp), file.Close()); err != nil {
		fmt.Println(err)
		return
	}
	if p, split := httpintent.ProgressOf(resp); split {
		for _, n := range p.Networks {
			fmt.Println(n.Name, n.Bytes)
		}
	}
}

// A request whose answer is far behind is sent again over another network. At most one
// request in a hundred, and one, is sent twice.
func ExampleHedge() {
	web := &http.Client{Transport: &httpintent.Transport{Hedge: &httpintent.Hedge{Share: 0.01}}}
	defer web.CloseIdleConnections()

	resp, err := web.Get("http://www.example.net/search?q=intents")
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = resp.Body.Close()
}

// A Transport can be used wherever an http.RoundTripper can, and also works without a
// manager.
func ExampleTransport_RoundTrip() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "hello from "+r.URL.Path)
	}))
	defer server.Close()

	transport := &httpintent.Transport{Dialer: &client.Dialer{Daemon: &client.Daemon{DecisionTimeout: -1}}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(server.URL + "/there")
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	fmt.Println(string(text), err)
	// Output: hello from /there <nil>
}
