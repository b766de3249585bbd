package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

func itoa(n int) string { return strconv.Itoa(n) }

// link is a client's connection to the daemon, as the original library has it.
type link struct {
	net.Conn
	reader *wire.Reader
}

func connect(t *testing.T, socket string) *link {
	t.Helper()
	l, err := open(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func open(socket string) (*link, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	return &link{c, wire.NewReader(c)}, nil
}

// request encodes a request for a connection to an address, as the original library does.
func request(to netip.AddrPort) []byte {
	m := &wire.Message{Action: wire.ActionConnectRequest, HasAction: true, Context: wire.Context{
		Domain: wire.AFInet, Type: wire.SockStream, Remote: wire.SockAddr{AddrPort: to},
	}}
	b, err := m.Append(nil)
	if err != nil {
		panic("faults: the request cannot be encoded: " + err.Error())
	}
	return b
}

var toLoopback = request(netip.MustParseAddrPort("127.0.0.1:9"))

// ask sends a request and returns the suggested source address, or the zero value if there
// is none.
func (l *link) ask(request []byte) (netip.Addr, error) {
	_ = l.SetDeadline(time.Now().Add(stage.Patience))
	if _, err := l.Write(request); err != nil {
		return netip.Addr{}, err
	}
	var m wire.Message
	if err := l.reader.Read(&m); err != nil {
		return netip.Addr{}, err
	}
	if m.Action != wire.ActionConnectResponse {
		return netip.Addr{}, fmt.Errorf("answered with action %v", m.Action)
	}
	if !m.Context.BindSuggested.IsValid() {
		return netip.Addr{}, nil
	}
	return m.Context.BindSuggested.AddrPort.Addr(), nil
}

// decision asks as the Go client does, and returns the decision's id.
func (l *link) decision(to netip.AddrPort) (uuid.UUID, error) {
	m, err := l.exchange(&wire.Message{Action: wire.ActionConnectRequest, HasAction: true, Features: wire.FeatureReports, Context: wire.Context{
		Domain: wire.AFInet, Type: wire.SockStream, Remote: wire.SockAddr{AddrPort: to},
	}})
	if err == nil && m.DecisionID == uuid.Nil {
		err = errors.New("the decision has no id")
	}
	return m.DecisionID, err
}

// report reports how the connection of a decision fared.
func (l *link) report(id uuid.UUID, errno syscall.Errno) error {
	m, err := l.exchange(&wire.Message{
		Action: wire.ActionReportRequest, HasAction: true, Features: wire.FeatureReports,
		DecisionID: id, Outcome: &wire.Outcome{Milliseconds: 1, Errno: int32(errno)},
	})
	if err == nil && m.Action != wire.ActionReportResponse {
		err = fmt.Errorf("answered with action %v", m.Action)
	}
	return err
}

func (l *link) exchange(m *wire.Message) (answer wire.Message, err error) {
	b, err := m.Append(nil)
	if err != nil {
		return answer, err
	}
	_ = l.SetDeadline(time.Now().Add(stage.Patience))
	if _, err := l.Write(b); err != nil {
		return answer, err
	}
	return answer, l.reader.Read(&answer)
}

// suggestion returns what a new client is told.
func suggestion(t *testing.T, socket string, request []byte) netip.Addr {
	t.Helper()
	a, err := connect(t, socket).ask(request)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// inLoop runs f in n goroutines, again and again until stop is called. stop returns the
// first error of any of them.
func inLoop(n int, f func() error) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	errs := make(chan error, n)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := f(); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	return func() error {
		cancel()
		wg.Wait()
		close(errs)
		var all []error
		for err := range errs {
			all = append(all, err)
		}
		return errors.Join(all...)
	}
}

// service accepts connections, sends a byte on each, and waits for its end.
func service(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_, _ = c.Write([]byte("!"))
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// dials counts the dials of a Dialer.
type dials struct {
	dialer  *client.Dialer
	address string

	chosen, plain atomic.Int64 // by the manager, and without it
	slowest       atomic.Int64 // nanoseconds

	mu    sync.Mutex
	times []time.Duration // since quantile was last asked
}

// maxDialTimes is how many times are kept for quantile, the first ones.
const maxDialTimes = 1 << 20

// quantile returns the time that a share q of the dials since the last call took at most,
// or 0 if there was none.
func (d *dials) quantile(q float64) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.times) == 0 {
		return 0
	}
	slices.Sort(d.times)
	x := d.times[int(q*float64(len(d.times)-1))]
	d.times = d.times[:0]
	return x
}

// dial connects once and reads the byte of the service.
func (d *dials) dial() error {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), stage.Patience)
	defer cancel()
	c, err := d.dialer.DialContext(ctx, "tcp", d.address)
	took := time.Since(begun)
	if err != nil {
		return err
	}
	// Thousands of connections in TIME_WAIT would use up the ports.
	if l, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0)
	}
	defer func() { _ = c.Close() }()
	d.mu.Lock()
	if len(d.times) < maxDialTimes {
		d.times = append(d.times, took)
	}
	d.mu.Unlock()
	for {
		was := d.slowest.Load()
		if int64(took) <= was || d.slowest.CompareAndSwap(was, int64(took)) {
			break
		}
	}
	if info, ok := client.InfoOf(c); ok && info.Decided {
		d.chosen.Add(1)
	} else {
		d.plain.Add(1)
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return err
}
