package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/socket-intents/mamma/client/clienttest"
	"github.com/socket-intents/mamma/client/internal/lateness"
	"github.com/socket-intents/mamma/internal/wire"
)

// freeNetworks is a manager that chooses 127.0.0.2. 127.0.0.3 is the other network.
func freeNetworks(r clienttest.Request) clienttest.Answer {
	a := clienttest.From("127.0.0.2", "127.0.0.3")(r)
	a.Cost.Level, a.Alternates[0].Cost.Level = clienttest.Free, clienttest.Free
	return a
}

// asks returns a Pool that asks a second time at once.
func asks(t *testing.T, script clienttest.Script, address string) *Pool {
	t.Helper()
	m := clienttest.Start(t, script)
	p := &Pool{Dialer: dialer(t, m.Path), HedgeLeast: time.Nanosecond}
	t.Cleanup(func() { _ = p.Close() })
	p.answered(keyOf(t, address), time.Nanosecond)
	return p
}

func keyOf(t *testing.T, address string) setKey {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return setKey{wire.SockStream, host, port}
}

// serveLines starts a server that reads a line of each connection and then calls handler,
// which is told whether the connection came over the chosen network.
func serveLines(t *testing.T, handler func(c net.Conn, chosen bool)) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
					return
				}
				from, _ := c.RemoteAddr().(*net.TCPAddr)
				handler(c, from.IP.String() == "127.0.0.2")
			}()
		}
	}()
	return ln.Addr().String()
}

// askLine sends a line and reads one, which becomes the Value of the connection.
func askLine(_ context.Context, c *Conn) error {
	if _, err := io.WriteString(c, "question\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	c.Value = line
	return err
}

func answer(c net.Conn, text string) { _, _ = io.WriteString(c, text+"\n") }

// closed waits until the peer has closed a connection.
func closed(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// If the chosen network brings no answer, that of the other one counts, and the first
// connection is closed. The other one can be used again.
func TestAsk(t *testing.T) {
	arrived, gone := make(chan struct{}), make(chan struct{})
	address := serveLines(t, func(c net.Conn, chosen bool) {
		if chosen {
			close(arrived)
			closed(c)
			close(gone)
			return
		}
		<-arrived // else the first one may be closed before it has asked
		answer(c, "from the other network")
		closed(c)
	})
	p := asks(t, freeNetworks, address)
	c, err := p.Ask(t.Context(), "tcp", address, askLine)
	if err != nil {
		t.Fatal(err)
	}
	if c.Value != "from the other network\n" || c.info.Local.Addr() != netip.MustParseAddr("127.0.0.3") || !c.info.Decided {
		t.Errorf("%q over %v", c.Value, c.info.Local)
	}
	<-gone
	if err := c.Release(); err != nil {
		t.Error(err)
	}
	if again := p.takeLast(&place{key: c.key}, []wire.SetMember{{FD: c.id}}); again != c {
		t.Error("the connection cannot be used again")
	}
	_ = c.Close()
}

// The first answer counts, also if it is that of the first connection.
func TestAskIsLate(t *testing.T) {
	asked, gone := make(chan struct{}), make(chan struct{})
	address := serveLines(t, func(c net.Conn, chosen bool) {
		if !chosen {
			close(asked)
			closed(c)
			close(gone)
			return
		}
		<-asked
		answer(c, "late")
	})
	p := asks(t, freeNetworks, address)
	c, err := p.Ask(t.Context(), "tcp", address, askLine)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if c.Value != "late\n" || c.info.Local.Addr() != netip.MustParseAddr("127.0.0.2") {
		t.Errorf("%q over %v", c.Value, c.info.Local)
	}
	<-gone
}

// A connection that fails does not end an Ask whose other one still gets an answer. If both
// fail, the error of the first one is returned.
func TestAskFails(t *testing.T) {
	errFirst := errors.New("the first fails")
	for _, both := range []bool{false, true} {
		t.Run(fmt.Sprintf("both %t", both), func(t *testing.T) {
			failed := make(chan struct{})
			address := serveLines(t, func(c net.Conn, chosen bool) {
				if !chosen {
					<-failed
					if !both {
						answer(c, "fine")
					}
				}
			})
			p := asks(t, freeNetworks, address)
			begun := make(chan struct{})
			c, err := p.Ask(t.Context(), "tcp", address, func(ctx context.Context, c *Conn) error {
				if c.info.Local.Addr() == netip.MustParseAddr("127.0.0.2") {
					<-begun
					defer close(failed)
					return errFirst
				}
				close(begun)
				return askLine(ctx, c)
			})
			switch {
			case both && !errors.Is(err, errFirst):
				t.Errorf("error %v, want %v", err, errFirst)
			case !both && err != nil:
				t.Error(err)
			case !both:
				if c.Value != "fine\n" {
					t.Errorf("%q", c.Value)
				}
				_ = c.Close()
			}
			if n := len(p.sets); n != 0 {
				t.Errorf("%d sets are left", n)
			}
		})
	}
	t.Run("before the second", func(t *testing.T) {
		address := serveLines(t, func(net.Conn, bool) {})
		p := asks(t, freeNetworks, address)
		p.HedgeLeast = time.Hour
		if _, err := p.Ask(t.Context(), "tcp", address, func(context.Context, *Conn) error { return errFirst }); !errors.Is(err, errFirst) {
			t.Errorf("error %v, want %v", err, errFirst)
		}
	})
}

// The end of the context ends both.
func TestAskCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	gone := make(chan struct{}, 2)
	address := serveLines(t, func(c net.Conn, chosen bool) {
		if !chosen {
			cancel() // both are under way
		}
		closed(c)
		gone <- struct{}{}
	})
	p := asks(t, freeNetworks, address)
	if c, err := p.Ask(ctx, "tcp", address, askLine); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", c, err)
	}
	<-gone
	<-gone
}

// A second connection is made only within the limits and the share, and over a network that
// costs nothing.
func TestElsewhere(t *testing.T) {
	for _, tt := range []struct {
		name  string
		edit  func(p *Pool)
		price clienttest.Cost
		want  bool
	}{
		{"usual", func(*Pool) {}, clienttest.Cost{Level: clienttest.Free}, true},
		{"room for two", func(p *Pool) { p.MaxPerSet, p.MaxConns = 2, 2 }, clienttest.Cost{Level: clienttest.Free}, true},
		{"a full set", func(p *Pool) { p.MaxPerSet = 1 }, clienttest.Cost{Level: clienttest.Free}, false},
		{"a full Pool", func(p *Pool) { p.MaxConns = 1 }, clienttest.Cost{Level: clienttest.Free}, false},
		{"nothing twice", func(p *Pool) { p.HedgeShare = -1 }, clienttest.Cost{Level: clienttest.Free}, false},
		{"metered", func(*Pool) {}, clienttest.Cost{Level: clienttest.Metered}, false},
		{"limited", func(*Pool) {}, clienttest.Cost{Level: clienttest.Free, Budget: 1 << 30}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := startServer(t)
			address := "127.0.0.1:" + srv.port
			p := asks(t, func(r clienttest.Request) clienttest.Answer {
				a := freeNetworks(r)
				a.Alternates[0].Cost = tt.price
				return a
			}, address)
			tt.edit(p)
			first := must(t, p, address, false)
			other := p.elsewhere(t.Context(), "tcp", address, &first.info)
			if other != nil {
				defer func() { _ = other.Close() }()
				if other.info.Local.Addr() != netip.MustParseAddr("127.0.0.3") {
					t.Errorf("over %v", other.info.Local)
				}
			}
			if got := other != nil; got != tt.want {
				t.Errorf("a second connection: %t", got)
			}
			p.mu.Lock()
			busy := p.busy
			p.mu.Unlock()
			if want := map[bool]int{false: 1, true: 2}[tt.want]; busy != want {
				t.Errorf("%d places are taken, want %d", busy, want)
			}
		})
	}
}

// Without costs from the manager, or with Multipath TCP, nothing is asked twice.
func TestBesides(t *testing.T) {
	two, three := netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")
	p := &plan{candidates: []*candidate{{local: two, priced: true}, {local: three, priced: true, index: 1}}}
	info := &Info{Local: netip.AddrPortFrom(two, 1)}
	if got := p.besides(info); got == nil || len(got.candidates) != 1 || got.candidates[0].local != three || !got.target.sole {
		t.Errorf("%+v", got)
	}
	if got := p.besides(&Info{Local: netip.AddrPortFrom(three, 1)}); got == nil || got.candidates[0].local != two {
		t.Errorf("the other way round: %+v", got)
	}
	if got := p.besides(&Info{Local: info.Local, Multipath: true}); got != nil {
		t.Errorf("beside Multipath TCP: %+v", got)
	}
	p.candidates[1].priced = false
	if got := p.besides(info); got != nil {
		t.Errorf("without a cost: %+v", got)
	}
}

// How long answers take is remembered of so many sets only.
func TestAnswersAreBounded(t *testing.T) {
	var p Pool
	if got := p.answerPatience(setKey{}); got != lateness.DefaultPatience {
		t.Errorf("an unknown set has %v", got)
	}
	for i := range 2 * maxAnswers {
		p.answered(setKey{service: strconv.Itoa(i)}, 10*time.Millisecond)
	}
	if n := len(p.answers); n != maxAnswers {
		t.Errorf("%d sets are known", n)
	}
	last := setKey{service: strconv.Itoa(2*maxAnswers - 1)}
	if got := p.answerPatience(last); got != lateness.DefaultLeast {
		t.Errorf("a quick set has %v", got)
	}
	p.HedgeLeast = time.Millisecond
	if got := p.answerPatience(last); got != 30*time.Millisecond {
		t.Errorf("a quick set has %v", got)
	}
}
