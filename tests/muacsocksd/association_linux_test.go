package muacsocksd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// association is a DNS client's way to the service through the proxy. It has one relay as
// long as it lives, and receives from no other.
type association struct {
	w              *world
	control, relay net.Conn
	asked          int // how often
}

func (w *world) associate(t *testing.T) *association {
	t.Helper()
	control, err := inside{w.Client}.Dial("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = control.Close() })
	if err := control.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(control, "\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	var b [12]byte
	if _, err := io.ReadFull(control, b[:]); err != nil || b[3] != 0 {
		t.Fatalf("reply %x, %v", b, err)
	}
	relay, err := inside{w.Client}.Dial("udp", fmt.Sprintf("127.0.0.1:%d", int(b[10])<<8|int(b[11])))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = relay.Close() })
	return &association{w: w, control: control, relay: relay}
}

// serviceHeader is the header of datagrams to and from the service's name server.
const serviceHeader = "\x00\x00\x00\x01\xc0\x00\x02\x01\x00\x35" // 192.0.2.1, port 53

// ask asks the service a new question, and waits for an answer to this or an earlier
// question. It returns the network from which the question came, or "" if no answer came in
// time.
func (a *association) ask(t *testing.T, wait time.Duration) (network string) {
	t.Helper()
	a.asked++ // no two names are the same
	q, err := new(dns.Msg).SetQuestion(fmt.Sprintf("q%d.%p.example.net.", a.asked, a), dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.relay.Write(append([]byte(serviceHeader), q...)); err != nil {
		t.Fatal(err)
	}
	if err := a.relay.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1500)
	n, err := a.relay.Read(got)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ""
	}
	var answer dns.Msg
	if err != nil || n < len(serviceHeader) || string(got[:len(serviceHeader)]) != serviceHeader || answer.Unpack(got[len(serviceHeader):n]) != nil || len(answer.Question) != 1 {
		t.Fatalf("%x, %v\n%s", got[:n], err, a.w.log)
	}
	queries := a.w.Service.DNS.Queries()
	at := slices.IndexFunc(queries, func(q testbed.Query) bool { return q.Name == answer.Question[0].Name })
	if at < 0 {
		t.Fatalf("nobody asked for %v", answer.Question)
	}
	if n := a.w.NetworkOf(queries[at].Remote.Addr()); n != nil {
		return n.Name
	}
	return queries[at].Remote.String()
}

// until asks without pause until the answers come over a network.
func (a *association) until(t *testing.T, network string) {
	t.Helper()
	for begun := time.Now(); a.ask(t, 20*time.Millisecond) != network; {
		if time.Since(begun) > patience {
			t.Fatalf("no answer by %s\n%s\n%s", network, a.w.log, a.w.daemon.Output())
		}
	}
}

const metrics = "127.0.0.1:9478"

// received returns how many bytes muacsocksd has counted for a source address.
func (w *world) received(t *testing.T, source string) int {
	t.Helper()
	tr := &http.Transport{DialContext: w.Client.DialContext, DisableKeepAlives: true}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+metrics+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, m := range regexp.MustCompile(`muacsocksd_received_bytes_total\{.*source="`+regexp.QuoteMeta(source)+`"\} (\d+)`).FindAllSubmatch(text, -1) {
		n, _ := strconv.Atoi(string(m[1])) // digits
		sum += n
	}
	return sum
}

// Datagrams of an association leave by the network for its first destination. Without
// mamma, they leave by the network of the host's routes.
func TestAssociation(t *testing.T) {
	w := newWorld(t)
	// If a manager on a busy machine takes 50 ms for an answer, it is not asked for a
	// while.
	var network string
	for begun := time.Now(); network != "wwan0" && time.Since(begun) < patience; {
		network = w.associate(t).ask(t, patience)
	}
	if network != "wwan0" {
		t.Errorf("the query came from %q", network)
	}
	if err := w.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	if network = w.associate(t).ask(t, patience); network != "wlan0" {
		t.Errorf("without mamma the query came from %q", network)
	}
}

// If the network of an association fails, the association goes on over the other one. Its
// client notices only the datagrams that were lost.
func TestAssociationMoves(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail func(*world) error
	}{
		{"link down", func(w *world) error {
			link, err := w.Client.Handle().LinkByName("wlan0")
			if err != nil {
				return err
			}
			return w.Client.Handle().LinkSetDown(link)
		}},
		// Only the missing answers show it, because nobody else uses the network.
		{"silence", func(w *world) error {
			return w.Network("wlan0").Link.Set(testbed.Shape{Loss: 1}, testbed.Shape{Loss: 1})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0", Emulate: &testbed.LinkConfig{}}, {Name: "wwan0"}}}, policy, "metrics {\n listen = \""+metrics+"\"\n}\n")
			a := w.associate(t)
			a.until(t, "wlan0")
			if err := tt.fail(w); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			a.until(t, "wwan0")
			took := time.Since(begun)
			t.Logf("the other network after %v, %d questions", took, a.asked)
			if took > 3*time.Second { // a second at most where nothing else runs
				t.Errorf("the other network after %v", took)
			}
			for range 10 {
				a.until(t, "wwan0")
			}
			for _, source := range []string{"10.1.0.2", "10.2.0.2"} {
				if n := w.received(t, source); n == 0 {
					t.Errorf("nothing is counted for %s", source)
				}
			}
			_ = a.control.Close()
			w.log.await(t, "msg=request", "command=udp", "source=10.2.0.2")
		})
	}
}
