package policies_test

import (
	"fmt"
	"net/netip"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies"
	"github.com/socket-intents/mamma/policy"
)

// A compiled-in policy can be made by its name, and asked.
func ExampleAll() {
	p, err := policies.All().New("intents", policy.Config{Name: "intents"})
	if err != nil {
		fmt.Println(err)
		return
	}
	networks := []*policy.Prefix{
		{Interface: "wlan0", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7")}, Options: policy.Options{"category": policy.NewOption("query")}},
		{Interface: "wwan0", Addrs: []netip.Addr{netip.MustParseAddr("198.51.100.7")}, Options: policy.Options{"category": policy.NewOption("bulktransfer")}},
	}
	d := p.Choose(&policy.Request{Intents: intent.Set{}.WithCategory(intent.CategoryBulkTransfer), Prefixes: networks})
	fmt.Println(d.Prefix.Interface)
	// Output: wwan0
}
