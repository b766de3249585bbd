package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

var (
	// near has short round trips and little capacity; far has the opposite.
	near = testbed.Shape{Rate: 5 * testbed.Mbit, Delay: 5 * time.Millisecond, Queue: 20 << 10}
	far  = testbed.Shape{Rate: 20 * testbed.Mbit, Delay: 40 * time.Millisecond}
)

// twoLinks returns a host with a near and a far network.
func twoLinks(t *testing.T) *testbed.Bed {
	t.Helper()
	timed(t)
	emulate := func(s testbed.Shape) *testbed.LinkConfig { return &testbed.LinkConfig{Down: s, Up: s} }
	return testbed.ForTest(t, testbed.Config{Congestion: "cubic", Networks: []testbed.NetworkConfig{
		{Name: "near", SourceRule: true, Emulate: emulate(near)},
		{Name: "far", SourceRule: true, Emulate: emulate(far)},
	}})
}

// onLinks returns a configuration with the networks of twoLinks and this default
// network.
func onLinks(policy, defaultNetwork string) string {
	conf := policy + "\n"
	for _, name := range []string{"near", "far"} {
		conf += fmt.Sprintf("interface %q {\n  default = %t\n}\n", name, name == defaultNetwork)
	}
	return conf
}

// download reads n bytes from the service over one network, without asking the daemon.
// It leaves the connection open until the test or ctx ends.
func download(ctx context.Context, bed *testbed.Bed, network string, n int) error {
	local := net.TCPAddrFromAddrPort(netip.AddrPortFrom(bed.Network(network).Client4, 0))
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		return bed.Client.Dial(ctx, &net.Dialer{LocalAddr: local}, network, address)
	}}
	context.AfterFunc(ctx, transport.CloseIdleConnections)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%v/bytes/%d", testbed.ServiceAddr4, n), nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return fmt.Errorf("download over %s: %w", network, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("download over %s: %w", network, err)
	}
	return nil
}

// warmUp lets the daemon learn the capacity and delay of both networks: by one transfer
// over each, then by connections that wait for nothing.
func warmUp(t *testing.T, bed *testbed.Bed) {
	t.Helper()
	transfer, end := context.WithCancel(t.Context())
	defer end()
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i, network := range []string{"near", "far"} {
		wg.Go(func() {
			errs[i] = download(transfer, bed, network, []int{600e3, 3e6}[i])
		})
	}
	wg.Wait()
	end()
	for _, network := range []string{"near", "far"} {
		errs = append(errs, download(t.Context(), bed, network, 100))
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// transfer gets n bytes with examples/fetch. It returns the network that they went
// over, and what fetch prints.
func transfer(t *testing.T, bed *testbed.Bed, d *daemon, intents string, n int) (network, says string) {
	t.Helper()
	before := len(bed.Service.HTTP.Requests())
	path := fmt.Sprintf("/bytes/%d", n)
	cmd := exec.Command(filepath.Join(bin, "fetch"), "--socket", d.socket, "--intent", intents, fmt.Sprintf("http://%v%s", testbed.ServiceAddr4, path))
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := bed.Client.Run(cmd); err != nil {
		t.Fatalf("fetch: %v\n%s", err, &out)
	}
	seen := bed.Service.HTTP.Requests()[before:]
	for _, s := range seen {
		if s.Path == path {
			return s.Network, out.String()
		}
	}
	t.Fatalf("the service saw %v, not %s", seen, path)
	return "", ""
}

func TestThresholdOnLinks(t *testing.T) {
	bed := twoLinks(t)
	// Whichever network is the default, it is the wrong answer to one of the questions.
	for _, defaultNetwork := range []string{"near", "far"} {
		t.Run("default "+defaultNetwork, func(t *testing.T) {
			d := start(t, bed.Client, write(t, "policy.conf", onLinks(`policy "threshold" {}`, defaultNetwork)))
			warmUp(t, bed)
			for _, tt := range []struct {
				intents string
				size    int
				want    string
			}{
				{"category=query,filesize=10k", 10e3, "near"},
				{"category=bulktransfer,filesize=10M", 10e6, "far"},
			} {
				network, says := transfer(t, bed, d, tt.intents, tt.size)
				if network != tt.want || strings.Contains(says, "default") {
					t.Errorf("%s went over %s, want %s\n%s", tt.intents, network, tt.want, says)
				}
			}
		})
	}
}

func TestRoundRobinOnLinks(t *testing.T) {
	bed := twoLinks(t)
	d := start(t, bed.Client, write(t, "policy.conf", onLinks(`policy "rr_naive" {}`, "near")))
	var got, says []string
	for range 6 {
		network, text := transfer(t, bed, d, "", 1000)
		got, says = append(got, network), append(says, text)
	}
	if want := "near far near far near far"; strings.Join(got, " ") != want {
		t.Errorf("went over %v, want %s\n%s", got, want, strings.Join(says, "\n"))
	}
}

// A player's segments leave a link that collapses. Other programs use both networks
// meanwhile, because nothing is known about a network that nobody uses.
func TestVideoLeavesACollapsedLink(t *testing.T) {
	bed := twoLinks(t)
	d := start(t, bed.Client, write(t, "policy.conf", onLinks("policy \"video\" {\n  be_pessimist = true\n}", "near")))
	others, end := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(func() {
		end()
		wg.Wait()
	})
	if err := download(others, bed, "far", 5e6); err != nil { // longer than slow start
		t.Fatal(err)
	}
	for _, network := range []string{"near", "far"} {
		wg.Go(func() { _ = download(others, bed, network, 1<<30) }) // goes on to the end of the test
	}
	// Segments of 4 s at 4 Mbit/s have 2 MB. They are asked for as by a client that
	// reports no outcomes. Reports of slow connects would make the daemon doubt the
	// network, which it would then not offer any more.
	request := &wire.Message{Action: wire.ActionSocketConnectRequest, HasAction: true, Features: wire.FeatureReason, Context: wire.Context{
		Domain: wire.AFInet, Type: wire.SockStream, Hostname: testbed.ServiceAddr4.String(), Service: "80",
	}}
	request.SetIntents(intent.Set{}.WithCategory(intent.CategoryBulkTransfer).WithBitrateBitsPerSecond(4e6).WithPlayoutBuffer(8 * time.Second))
	raw, err := request.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	// until asks for segments until n in a row are sent to the wanted network.
	until := func(what, want string, n int) (reason string) {
		t.Helper()
		deadline := time.Now().Add(stage.Patience)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for in := 0; in < n; {
			answer := exchange(t, d.socket, raw)
			network := ""
			if a := answer.Context.BindSuggested; a.IsValid() {
				network = bed.NetworkOf(a.AddrPort.Addr()).Name
			}
			if in++; network != want {
				in = 0
			}
			if reason = answer.Reason; time.Now().After(deadline) {
				t.Fatalf("%s: the last segment went over %q, want %q: %s", what, network, want, reason)
			}
			<-tick.C
		}
		return reason
	}
	until("at first", "far", 5)
	collapsed := testbed.Shape{Rate: testbed.Mbit / 2, Delay: far.Delay}
	if err := bed.Network("far").Link.Set(collapsed, collapsed); err != nil {
		t.Fatal(err)
	}
	if reason := until("after the collapse", "near", 1); !strings.HasPrefix(reason, "pessimist") {
		t.Errorf("left, but because of: %s", reason)
	}
	// The policy comes back now and then while the last ten seconds speak for the link.
	// Then it stays away.
	if reason := until("in the end", "near", 10); !strings.Contains(reason, "the last 10 s") {
		t.Errorf("left for good, but because of: %s", reason)
	}
}
