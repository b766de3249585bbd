package quicintent

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// sessions is a cache that tells when a ticket has come.
type sessions struct {
	tls.ClientSessionCache
	came chan struct{} // one slot
}

func (s *sessions) Put(key string, state *tls.ClientSessionState) {
	s.ClientSessionCache.Put(key, state)
	select {
	case s.came <- struct{}{}:
	default:
	}
}

// With a ticket of an earlier connection, DialEarly sends data at once, from where the
// manager places the connection.
func TestZeroRTT(t *testing.T) {
	const patience = 20 * time.Second
	_, via := manager(t)
	server, trusting := keys(t, "echo")
	l, err := quic.ListenAddrEarly("127.0.0.1:0", server, &quic.Config{Allow0RTT: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	type arrival struct {
		from, text string
		early      bool
	}
	arrivals := make(chan arrival, 2)
	go func() {
		for {
			c, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			s, err := c.AcceptStream(context.Background())
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			text, _ := io.ReadAll(s)
			_, _ = s.Write(text)
			_ = s.Close()
			arrivals <- arrival{host, string(text), c.ConnectionState().Used0RTT}
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	address := net.JoinHostPort("service.test", port)
	cache := &sessions{tls.NewLRUClientSessionCache(1), make(chan struct{}, 1)}
	trusting.ClientSessionCache = cache
	d := &Dialer{Client: via}
	for _, early := range []bool{false, true} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		c, err := d.DialEarly(ctx, address, trusting, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.OpenStreamSync(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(s, "hello"); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		_ = s.SetReadDeadline(time.Now().Add(patience))
		if text, err := io.ReadAll(s); err != nil || string(text) != "hello" {
			t.Fatalf("%q, %v", text, err)
		}
		if got, want := <-arrivals, (arrival{"127.0.0.2", "hello", early}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		select {
		case <-cache.came:
		case <-ctx.Done():
			t.Fatal("no ticket has come")
		}
		if err := c.CloseWithError(0, ""); err != nil {
			t.Error(err)
		}
	}
}
