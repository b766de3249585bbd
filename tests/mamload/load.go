package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// background is TCP connections that the daemon must measure while it decides. They
// lead from a host in a namespace to a server behind its network.
type background struct {
	bed     *testbed.Bed
	conns   []net.Conn
	holders []*holder
	stop    context.CancelFunc
	done    sync.WaitGroup
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
	files, err := allowFiles(2*n + spareFiles)
	if err != nil {
		cancel()
		return nil, err
	}
	room := (files - spareFiles) / 2
	if n > 0 && room <= 0 {
		cancel()
		return nil, fmt.Errorf("%d descriptors are too few", files)
	}
	// The namespace is entered once, because entering it takes longer than to connect.
	err = bed.Client.Do(func() error {
		if err := b.open(ctx, min(n, room)); err != nil {
			return err
		}
		return b.linger(ctx, timeWait)
	})
	for n -= room; err == nil && n > 0; n -= room {
		err = b.delegate(min(n, room, perListener))
	}
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

// open opens n connections, whose descriptors this process holds.
func (b *background) open(ctx context.Context, n int) error {
	for ; n > 0; n -= perListener {
		l, err := b.bed.Service.Listen("tcp4", "192.0.2.1:0")
		if err != nil {
			return err
		}
		conns, err := pairs(ctx, l, min(n, perListener))
		b.conns = append(b.conns, conns...)
		if err := errors.Join(err, l.Close()); err != nil {
			return err
		}
	}
	return nil
}

// pairs makes n connections in the calling goroutine's namespace, and returns both ends of
// each. After an error these are fewer.
func pairs(ctx context.Context, l net.Listener, n int) (conns []net.Conn, err error) {
	for range n {
		near, far, err := pair(ctx, l)
		if err != nil {
			return conns, err
		}
		conns = append(conns, near, far)
	}
	return conns, nil
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

// spareFiles is the number of descriptors that are needed for other things than
// connections.
const spareFiles = 1000

// allowFiles lets this process have n descriptors, or as many as it may have. It returns
// how many.
func allowFiles(n int) (int, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	if l.Cur >= uint64(n) {
		return n, nil
	}
	higher := unix.Rlimit{Cur: uint64(n), Max: max(l.Max, uint64(n))}
	err := unix.Setrlimit(unix.RLIMIT_NOFILE, &higher)
	if errors.Is(err, unix.EPERM) { // the hard limit can be raised with CAP_SYS_RESOURCE only
		higher = unix.Rlimit{Cur: l.Max, Max: l.Max}
		err = unix.Setrlimit(unix.RLIMIT_NOFILE, &higher)
	}
	return int(higher.Cur), err //nolint:gosec // at most n, or a limit below it
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
	reset(b.conns)
	for _, h := range b.holders {
		h.end()
	}
}

// reset closes connections so that no TIME_WAIT is left for the next round.
func reset(conns []net.Conn) {
	for _, c := range conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}
