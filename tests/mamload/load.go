package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// background is TCP connections that the daemon must measure while it decides. They
// lead from a host in a namespace to a server behind its network.
type background struct {
	bed   *testbed.Bed
	conns []net.Conn
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// Every chatter, up to talkers connections in turn send a byte. The daemon measures
// less often on an idle host, which this prevents. More connections would take
// processor time that would seem to be the daemon's: 500 sends and receipts at a time
// took an eighth of two cores.
const (
	chatter = 50 * time.Millisecond
	talkers = 20
)

// establish opens n connections and keeps some of them busy. It also leaves timeWait
// connections in TIME_WAIT.
func establish(ctx context.Context, bed *testbed.Bed, n, timeWait int) (*background, error) {
	ctx, cancel := context.WithCancel(ctx)
	b := &background{bed: bed, stop: cancel}
	if err := allowFiles(2*n + 1000); err != nil {
		cancel()
		return nil, err
	}
	// The namespace is entered once, because entering it takes longer than to connect.
	err := bed.Client.Do(func() error {
		if err := b.open(ctx, n); err != nil {
			return err
		}
		return b.linger(ctx, timeWait)
	})
	if err != nil {
		b.close()
		return nil, err
	}
	b.done.Go(func() { b.talk(ctx) })
	return b, nil
}

// perListener keeps the number of connections to one port below the number of ephemeral
// ports.
const perListener = 20000

func (b *background) open(ctx context.Context, n int) error {
	for ; n > 0; n -= perListener {
		if err := b.openTo(ctx, min(n, perListener)); err != nil {
			return err
		}
	}
	return nil
}

// openTo opens n connections to one port.
func (b *background) openTo(ctx context.Context, n int) error {
	l, err := b.bed.Service.Listen("tcp4", "192.0.2.1:0")
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	for range n {
		near, far, err := pair(ctx, l)
		if err != nil {
			return err
		}
		b.conns = append(b.conns, near, far)
	}
	return nil
}

// pair makes a connection in the calling goroutine's namespace.
func pair(ctx context.Context, l net.Listener) (near, far net.Conn, err error) {
	if near, err = new(net.Dialer).DialContext(ctx, "tcp4", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	if far, err = l.Accept(); err != nil {
		_ = near.Close()
		return nil, nil, err
	}
	return near, far, nil
}

// linger leaves n connections in TIME_WAIT, which the near side has closed first.
func (b *background) linger(ctx context.Context, n int) error {
	for n > 0 {
		l, err := b.bed.Service.Listen("tcp4", "192.0.2.1:0")
		if err != nil {
			return err
		}
		for range min(n, perListener) {
			near, far, err := pair(ctx, l)
			if err != nil {
				_ = l.Close()
				return err
			}
			_ = near.Close()
			_ = far.Close()
		}
		_ = l.Close()
		n -= perListener
	}
	return nil
}

// allowFiles lets this process have n descriptors, where it may.
func allowFiles(n int) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	if l.Cur >= uint64(n) {
		return nil
	}
	l.Cur, l.Max = uint64(n), max(l.Max, uint64(n))
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("%d descriptors: %w", n, err)
	}
	return nil
}

func (b *background) talk(ctx context.Context) {
	t := time.NewTicker(chatter)
	defer t.Stop()
	buf := make([]byte, 64)
	next := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for range min(talkers, len(b.conns)/2) {
			if _, err := b.conns[next].Write([]byte{1}); err == nil {
				_, _ = b.conns[next+1].Read(buf)
			}
			next = (next + 2) % len(b.conns)
		}
	}
}

func (b *background) close() {
	b.stop()
	b.done.Wait()
	for _, c := range b.conns {
		_ = c.(*net.TCPConn).SetLinger(0) // with a reset, so that no TIME_WAIT is left for the next round
		_ = c.Close()
	}
}

// cpuTime returns the processor time that a process has used (proc(5), stat).
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The command's name, in parentheses, may contain anything.
	_, rest, ok := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, errors.New("unexpected /proc/PID/stat")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	const tick = time.Second / 100 // USER_HZ, which is 100 on all Linux platforms in use
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}
