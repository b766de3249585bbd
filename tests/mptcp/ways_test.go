package mptcp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/net/proxy"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/bsd"
	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// size is how much these tests transfer. The server waits after a part of it, so that there
// is time for a subflow.
const size = 300e3

// join starts a transfer, and waits until the transfer has a subflow over the other network
// than its first one.
func (s *stageFor) join(t *testing.T, from *server, transfer func() (received, error)) {
	t.Helper()
	if !s.joinIfAsked(t, from, transfer) {
		t.Error("the server sees plain TCP")
	}
}

// joinIfAsked does the same unless the server sees plain TCP.
func (s *stageFor) joinIfAsked(t *testing.T, from *server, transfer func() (received, error)) bool {
	t.Helper()
	type result struct {
		r   received
		err error
	}
	done := make(chan result, 1)
	go func() {
		r, err := transfer()
		done <- result{r, err}
	}()
	select {
	case <-from.paused:
	case r := <-done:
		t.Fatalf("%+v, %v\n%s", r.r, r.err, s.daemon.Output())
	}
	on := <-from.accepted
	if on {
		s.awaitJoin(t, "wwan0", from)
	}
	close(from.resume)
	if r := <-done; r.err != nil || r.r.Sum != sumOf(size) {
		t.Errorf("%+v, %v", r.r, r.err)
	}
	if n := s.opened("wlan0", from); on && n != 1 {
		t.Errorf("%d connections over wlan0", n)
	}
	return on
}

// by makes the actor do a transfer.
func (s *stageFor) by(job string, o order) func() (received, error) {
	return func() (r received, err error) {
		err = s.actor.Do(job, o, &r)
		return r, err
	}
}

// The extended getaddrinfo says how to make a socket. A socket that is made like that
// speaks MPTCP.
func TestGetaddrinfo(t *testing.T) {
	each(t, func(t *testing.T, mode mptcp.PathManager) {
		s := set(t, mode, `policy "mptcp_simple" {}`+networks)
		from := serve(t, s.Bed, true, 100e3)
		s.join(t, from, s.by("getaddrinfo", order{s.daemon.Socket, "", from.addr, size}))
	})
}

// byGetaddrinfo downloads over a socket of the classic kind.
func byGetaddrinfo(o order) (r received, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	begun := time.Now()
	dialer := client.Dialer{Daemon: &client.Daemon{Path: o.Socket, DecisionTimeout: patience}}
	defer dialer.Daemon.Close() //nolint:errcheck // nothing is lost
	host, port, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return r, err
	}
	list, err := bsd.Getaddrinfo(ctx, &dialer, host, port, &bsd.Hints{Family: bsd.AFInet, Type: bsd.SockStream})
	if err != nil {
		return r, err
	}
	best := &list[0]
	if best.Protocol != unix.IPPROTO_MPTCP {
		return r, fmt.Errorf("ai_protocol %d, want %d", best.Protocol, unix.IPPROTO_MPTCP)
	}
	fd, err := best.Socket()
	if err != nil {
		return r, err
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close() //nolint:errcheck // FileConn has its own
	if err := best.SimpleConnect(fd); err != nil {
		return r, err
	}
	c, err := net.FileConn(f)
	if err != nil {
		return r, err
	}
	defer c.Close() //nolint:errcheck // only read
	return r, r.read(c, o.Bytes, begun)
}

// listen is the address of the proxy, in the host's own namespace.
const listen = "127.0.0.1:9050"

// Connections through the proxy use MPTCP if the policy wants it, and only then.
func TestProxy(t *testing.T) {
	each(t, func(t *testing.T, mode mptcp.PathManager) {
		s := set(t, mode, selective)
		p := stage.Launch(t, s.Client, exec.Command(socksd, "--listen", listen, "--socket", s.daemon.Socket))
		p.Log.Await(t, "listening", 1)
		// The proxy gives the daemon 50 ms for a decision. A busy machine may take longer,
		// and then the proxy dials plainly for a moment.
		stage.Until(t, "a bulk transfer by MPTCP", func() bool {
			bulk := serve(t, s.Bed, true, 100e3)
			return s.joinIfAsked(t, bulk, s.by("proxy", order{Intents: "category=bulktransfer", Addr: bulk.addr, Bytes: size}))
		})
		queries := serve(t, s.Bed, true, 0)
		if r, err := s.by("proxy", order{Intents: "category=query", Addr: queries.addr, Bytes: size})(); err != nil || r.Sum != sumOf(size) {
			t.Errorf("query: %+v, %v", r, err)
		}
		if <-queries.accepted || s.opened("wwan0", queries) != 0 {
			t.Error("a query uses MPTCP")
		}
	})
}

// byProxy downloads through the proxy, which reads intents from the user name.
func byProxy(o order) (r received, err error) {
	begun := time.Now()
	d, err := proxy.SOCKS5("tcp", listen, &proxy.Auth{User: o.Intents, Password: "x"}, &net.Dialer{Timeout: patience})
	if err != nil {
		return r, err
	}
	c, err := d.Dial("tcp", o.Addr)
	if err != nil {
		return r, err
	}
	defer c.Close() //nolint:errcheck // only read
	return r, r.read(c, o.Bytes, begun)
}

// A captured request of an original C client is answered with the protocol, and a socket
// that is made from the answer speaks MPTCP.
func TestOriginalClient(t *testing.T) {
	each(t, func(t *testing.T, mode mptcp.PathManager) {
		s := set(t, mode, `policy "mptcp_simple" {}`+networks)
		from := serve(t, s.Bed, true, 100e3)
		s.join(t, from, s.byOriginal(t, from, unix.IPPROTO_MPTCP))
	})
}

// originalRequest is the captured request of an original client, with the address of a
// server.
func (s *stageFor) originalRequest(t *testing.T, to *server) (request []byte, remote netip.AddrPort) {
	t.Helper()
	raw, err := os.ReadFile("../../internal/wire/testdata/captures/socketconnect-v4-intents-req.bin")
	if err != nil {
		t.Fatal(err)
	}
	remote = netip.MustParseAddrPort(to.addr)
	asked, there := []byte("10.77.1.2\x00"), append([]byte(remote.Addr().String()), 0)
	if len(asked) != len(there) || !bytes.Contains(raw, asked) {
		t.Fatal("the capture does not hold what is to be replaced")
	}
	return bytes.ReplaceAll(raw, asked, there), remote
}

// byOriginal downloads as an original client, which must be told this protocol.
func (s *stageFor) byOriginal(t *testing.T, from *server, protocol int32) func() (received, error) {
	t.Helper()
	request, remote := s.originalRequest(t, from)
	return func() (r received, err error) {
		answer, err := exchange(s.daemon.Socket, request)
		if err != nil {
			return r, err
		}
		c := &answer.Context
		if answer.Action != wire.ActionSocketConnectResponse || c.Protocol != protocol || answer.Features != 0 || answer.Alternates != nil {
			return r, fmt.Errorf("answered %+v", answer)
		}
		c.Remote.AddrPort = remote // the capture's has a port of its own
		begun := time.Now()
		var conn net.Conn
		if err := s.Client.Do(func() (err error) {
			conn, err = connectAsOriginal(c)
			return err
		}); err != nil {
			return r, err
		}
		defer conn.Close() //nolint:errcheck // only read
		return r, r.read(conn, size, begun)
	}
}

// On a host on which MPTCP is switched off, every way of connecting works, and our own
// client says which protocol it got.
func TestSwitchedOff(t *testing.T) {
	s := set(t, mptcp.InKernel, `policy "mptcp_simple" {}`+networks)
	if err := s.daemon.Stop(); err != nil {
		t.Error(err)
	}
	if err := s.Client.Sysctl("net.mptcp.enabled", "0"); err != nil {
		t.Fatal(err)
	}
	s.start(t, "kernel", `policy "mptcp_simple" {}`+networks)
	from := serve(t, s.Bed, true, 0)
	if r := s.get(t, from, "", size); !r.Asked || r.Multipath || !r.PlainTCP || <-from.accepted {
		t.Errorf("%+v", r)
	}
	for name, transfer := range map[string]func() (received, error){
		"original": s.byOriginal(t, from, unix.IPPROTO_TCP), "getaddrinfo": s.by("getaddrinfo", order{s.daemon.Socket, "", from.addr, size}),
	} {
		if r, err := transfer(); err != nil || r.Sum != sumOf(size) || <-from.accepted {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// exchange sends a request as it is and reads the answer.
func exchange(socket string, request []byte) (*wire.Message, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	defer c.Close() //nolint:errcheck // all was read
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	var m wire.Message
	return &m, wire.NewReader(c).Read(&m)
}

// connectAsOriginal does with an answer what the original library does
// (doc/original/client-and-socks.md 7.4): socket, options, bind, connect.
func connectAsOriginal(c *wire.Context) (net.Conn, error) {
	fd, err := unix.Socket(int(c.Domain), int(c.Type), int(c.Protocol))
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close() //nolint:errcheck // FileConn has its own
	for _, o := range c.OptionsSuggested {
		if err := unix.SetsockoptString(fd, int(o.Level), int(o.Name), string(o.Value)); err != nil {
			return nil, err
		}
	}
	if a := c.BindSuggested.AddrPort; a.IsValid() {
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: a.Addr().As4()}); err != nil {
			return nil, err
		}
	}
	remote := c.Remote.AddrPort
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: remote.Addr().As4(), Port: int(remote.Port())}); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

// A server that does not speak MPTCP is served over plain TCP. The client library tells the
// program, and mammactl and the metrics tell people.
func TestPlainServer(t *testing.T) {
	each(t, func(t *testing.T, mode mptcp.PathManager) {
		s := set(t, mode, `policy "mptcp_simple" {}`+networks)
		from := serve(t, s.Bed, false, 0)
		if r := s.get(t, from, "", 200e3); !r.Asked || r.Multipath || !r.PlainTCP {
			t.Errorf("%+v", r)
		}
		if n := s.opened("wlan0", from) + s.opened("wwan0", from); n != 1 {
			t.Errorf("%d connections", n)
		}
		s.awaitPlain(t, true, 1)

		// A server that speaks MPTCP is not reported as plain.
		if r := s.get(t, serve(t, s.Bed, true, 0), "", 200e3); !r.Multipath || r.PlainTCP {
			t.Errorf("%+v", r)
		}
		s.awaitPlain(t, false, 1)
	})
}

// awaitPlain waits until the last decision is shown with a report that says whether the
// connection became plain TCP, and until the metrics count so many.
func (s *stageFor) awaitPlain(t *testing.T, plain bool, counted int) {
	t.Helper()
	c := s.control()
	defer c.Close()
	s.await(t, "last decision and counters", func() string {
		var list control.Decisions
		var now control.Multipath
		_, err := c.Get(t.Context(), "/v1/decisions", &list)
		if err == nil {
			_, err = c.Get(t.Context(), "/v1/mptcp", &now)
		}
		var metrics []byte
		if err == nil {
			metrics, err = scrape(t.Context(), c.Path())
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := len(list.Decisions); n == 0 || list.Decisions[n-1].Outcome == nil {
			return "no report"
		} else if o := list.Decisions[n-1].Outcome; o.PlainTCP != plain {
			t.Fatalf("reported %+v", o)
		}
		if n := fmt.Sprintf("\nmamma_reported_plain_tcp_total %d\n", counted); !bytes.Contains(metrics, []byte(n)) {
			return "not in the metrics"
		}
		if now.Counters.NoPeer != uint64(counted) {
			return fmt.Sprintf("the kernel's counters: %+v", now.Counters)
		}
		return ""
	})
}

// scrape reads the metrics.
func scrape(ctx context.Context, socket string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://mamma/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	return io.ReadAll(resp.Body)
}
