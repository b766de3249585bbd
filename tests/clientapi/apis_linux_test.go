package clientapi

import (
	"encoding/json"
	"net"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

const byCategory = `policy "intents" {}
prefix "192.168.0.0/24" {
  default = true
  nameserver = ["192.168.0.1"]
  options { category = "query" }
}
prefix "10.64.0.0/10" {
  nameserver = ["10.64.0.1"]
  options { category = "bulktransfer" }
}
`

func twoNetworks(t testing.TB, sourceRules bool) *testbed.Bed {
	zone := testbed.Zone{"www.example.net": {"A 192.0.2.1"}}
	return testbed.ForTest(t, testbed.Config{Zone: zone, Networks: []testbed.NetworkConfig{
		{Name: "wifi", Prefix4: netip.MustParsePrefix("192.168.0.23/24"), SourceRule: sourceRules},
		{Name: "lte", Prefix4: netip.MustParsePrefix("10.64.3.9/10"), SourceRule: sourceRules},
	}})
}

// startDaemon starts a daemon that must end without errors at the end of the test.
func startDaemon(t *testing.T, bed *testbed.Bed, config string) *stage.Daemon {
	t.Helper()
	d, err := stage.StartDaemon(t.Context(), bed.Client, filepath.Join(bin, "mamma"), t.TempDir(), "daemon", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func startActor(t *testing.T, bed *testbed.Bed) *stage.Actor {
	t.Helper()
	a, err := stage.StartActor(bed.Client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// networks returns the networks over which the server was reached, and the number of
// connections.
func networks(seen []testbed.Seen) (names []string, connections int) {
	clients := make(map[netip.AddrPort]bool)
	for _, s := range seen {
		names = append(names, s.Network)
		clients[s.Client] = true
	}
	return names, len(clients)
}

// serveAlike makes the service answer like its web server over TLS, with HTTP/1.1 and
// HTTP/2, and to any datagram on port 7.
func serveAlike(t *testing.T, bed *testbed.Bed) {
	t.Helper()
	srv := httptest.NewUnstartedServer(bed.Service.HTTP.Mux)
	_ = srv.Listener.Close()
	var err error
	if srv.Listener, err = bed.Service.Listen("tcp4", "192.0.2.1:443"); err != nil {
		t.Fatal(err)
	}
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	pc := listenDatagrams(t, bed)
	answer(t, pc, func(_ []byte, from netip.AddrPort) []byte {
		seen := testbed.Seen{Client: from}
		if n := bed.NetworkOf(from.Addr()); n != nil {
			seen.Network = n.Name
		}
		b, _ := json.Marshal(seen)
		return b
	})
}

// Every way of connecting follows the policy, by name and by address, and reuses
// connections if it can.
func TestWithDaemon(t *testing.T) {
	bed := twoNetworks(t, false)
	serveAlike(t, bed)
	d := startDaemon(t, bed, byCategory)
	actor := startActor(t, bed)
	for name := range apis {
		hosts := []string{"192.0.2.1", "www.example.net"}
		if name == "bsd.Context" {
			hosts = hosts[:1] // the name is for the host's resolver, unless bound: TestClassicBound
		}
		for _, host := range hosts {
			for category, want := range map[intent.Category][]string{
				intent.CategoryQuery:        {"wifi", "lte", "wifi", "lte"},
				intent.CategoryBulkTransfer: {"lte", "wifi", "lte", "wifi"},
			} {
				t.Run(name+" "+host+" "+category.String(), func(t *testing.T) {
					var seen []testbed.Seen
					if err := actor.Do(name, args{Socket: d.Socket, Host: host, Category: category, Times: 4}, &seen); err != nil {
						t.Fatalf("%v\n%s", err, d.Output())
					}
					got, connections := networks(seen)
					wantConnections := 1
					switch name {
					case "httpintent", "httpintent with HTTP/2":
						wantConnections = 2
					case "Pool":
						want = []string{want[0], want[0], want[0], want[0]}
					default:
						want = want[:1]
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("networks (-want +got)\n%s", diff)
					}
					if connections != wantConnections {
						t.Errorf("%d connections, want %d", connections, wantConnections)
					}
				})
			}
		}
	}
}

// Without a daemon, everything goes by the default route.
func TestWithoutDaemon(t *testing.T) {
	bed := twoNetworks(t, false)
	serveAlike(t, bed)
	actor := startActor(t, bed)
	none := filepath.Join(t.TempDir(), "none")
	for name := range apis {
		t.Run(name, func(t *testing.T) {
			var seen []testbed.Seen
			if err := actor.Do(name, args{Socket: none, Host: "192.0.2.1", Category: intent.CategoryBulkTransfer, Times: 4}, &seen); err != nil {
				t.Fatal(err)
			}
			got, connections := networks(seen)
			for _, n := range got {
				if n != "wifi" {
					t.Errorf("went over %s", n)
				}
			}
			if len(got) == 0 || connections != 1 {
				t.Errorf("%d requests over %d connections", len(got), connections)
			}
		})
	}
}

// If an application binds its socket itself, names are looked up over that network, and it
// gets no address from elsewhere.
func TestClassicBound(t *testing.T) {
	bed := twoNetworks(t, true)
	d := startDaemon(t, bed, byCategory)
	actor := startActor(t, bed)
	for _, n := range bed.Networks {
		var seen []testbed.Seen
		a := args{Socket: d.Socket, Host: "www.example.net", Category: intent.CategoryQuery, Bind: n.Client4}
		if err := actor.Do("bsd.Context bound", a, &seen); err != nil {
			t.Fatalf("%v\n%s", err, d.Output())
		}
		if got, _ := networks(seen); len(got) != 1 || got[0] != n.Name {
			t.Errorf("bound to %v: went over %v", n.Client4, got)
		}
		if q := n.Server.DNS.Queries(); len(q) == 0 {
			t.Errorf("the name server of %s was not asked", n.Name)
		}
	}
}

// networkOf returns the network over which a connection to the service came.
func networkOf(bed *testbed.Bed, nc net.Conn) string {
	if n := bed.NetworkOf(nc.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()); n != nil {
		return n.Name
	}
	return ""
}
