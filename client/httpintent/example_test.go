package httpintent_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/httpintent"
	"github.com/socket-intents/mamma/client/intent"
)

// A web client each of whose requests goes the way that suits it.
func ExampleTransport() {
	web := &http.Client{Transport: new(httpintent.Transport)}
	defer web.CloseIdleConnections()

	ctx := client.WithIntents(context.Background(), intent.Set{}.WithCategory(intent.BulkTransfer))
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
