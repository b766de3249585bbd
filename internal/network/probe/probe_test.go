package probe

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

func TestMain(m *testing.M) {
	_ = testbed.Enter() // New says what is missing
	goleak.VerifyTestMain(m)
}

// The probes succeed over each network while it works, and fail soon after it drops
// everything.
func TestProbes(t *testing.T) {
	fast := testbed.Shape{}
	bed := testbed.ForTest(t, testbed.Config{
		Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0", Emulate: &testbed.LinkConfig{Down: fast, Up: fast}}},
		Zone:     testbed.Zone{".": {"NS a.root.test."}},
	})
	lookups := make(chan string, 100)
	for _, n := range bed.Networks {
		via := Via{
			Source: n.Client4, Device: n.Name,
			Dial: bed.Client.Dial,
			Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
				lookups <- host
				return []netip.Addr{testbed.ServiceAddr6, testbed.ServiceAddr4}, nil
			},
		}
		via6 := via
		via6.Source = n.Client6
		server := netip.AddrPortFrom(n.Gateway4, 53)
		probes := []struct {
			name string
			run  func(context.Context) error
			want string // in the error while the network works; "" for none
		}{
			{"tcp", func(ctx context.Context) error { return TCP(ctx, via, netip.AddrPortFrom(testbed.ServiceAddr4, 80)) }, ""},
			{"tcp, IPv6", func(ctx context.Context) error { return TCP(ctx, via6, netip.AddrPortFrom(testbed.ServiceAddr6, 80)) }, ""},
			{"tcp, refused", func(ctx context.Context) error { return TCP(ctx, via, netip.AddrPortFrom(testbed.ServiceAddr4, 81)) }, ""},
			{"tcp, other family", func(ctx context.Context) error { return TCP(ctx, via, netip.AddrPortFrom(testbed.ServiceAddr6, 80)) }, "not of the family"},
			{"dns", func(ctx context.Context) error { return DNS(ctx, via, []netip.AddrPort{server}) }, ""},
			{"dns, none of the family", func(ctx context.Context) error { return DNS(ctx, via6, []netip.AddrPort{server}) }, "no name server"},
			{"http, portal", func(ctx context.Context) error { return HTTP(ctx, via, "http://192.0.2.1/") }, "captive portal"},
			{"http, name", func(ctx context.Context) error { return HTTP(ctx, via, "http://portal.test/") }, "captive portal"},
		}
		for _, p := range probes {
			err := p.run(t.Context())
			if p.want == "" && err != nil || p.want != "" && (err == nil || !strings.Contains(err.Error(), p.want)) {
				t.Errorf("%s over %s: %v, want %q", p.name, n.Name, err, p.want)
			}
		}
		if n.Link == nil {
			continue
		}
		lost := testbed.Shape{Loss: 1}
		if err := n.Link.Set(lost, lost); err != nil {
			t.Fatal(err)
		}
		for _, p := range probes {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			if err := p.run(ctx); err == nil || errors.Is(err, ErrPortal) {
				t.Errorf("%s over a network that drops everything: %v", p.name, err)
			}
			cancel()
		}
	}
	if len(lookups) == 0 || <-lookups != "portal.test" {
		t.Error("the name was not resolved on the network")
	}
}

// A name server that cannot reach the root servers says so, and the probe fails.
func TestDNSServerFailure(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}}})
	n := bed.Networks[0]
	n.Server.DNS.SetHandler(dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(r, dns.RcodeServerFailure))
	}))
	err := DNS(t.Context(), Via{Source: n.Client4, Dial: bed.Client.Dial}, []netip.AddrPort{netip.AddrPortFrom(n.Gateway4, 53)})
	if err == nil || !strings.Contains(err.Error(), "SERVFAIL") {
		t.Errorf("%v", err)
	}
}

// The page answers as is hoped for, without a portal.
func TestNoContent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/204" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		http.Redirect(w, r, "/204", http.StatusFound)
	})}
	go func() { _ = s.Serve(l) }()
	defer func() { _ = s.Close() }()
	via := Via{Source: netip.MustParseAddr("127.0.0.1")}
	if err := HTTP(t.Context(), via, "http://"+l.Addr().String()+"/204"); err != nil {
		t.Error(err)
	}
	if err := HTTP(t.Context(), via, "http://"+l.Addr().String()+"/"); !errors.Is(err, ErrPortal) {
		t.Errorf("redirected: %v", err)
	}
}
