package pathstat

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/dump"
)

const (
	// endedGroups are SKNLGRP_INET_TCP_DESTROY and SKNLGRP_INET6_TCP_DESTROY of
	// linux/sock_diag.h. Everybody may join them.
	endedGroups = 1<<0 | 1<<2
	// endedBuffer bounds the messages that wait for the next pass, some 300 of them. The
	// kernel drops the others. So many short connections cost no more than these.
	endedBuffer = 256 << 10
	// endedReads bounds the messages that a pass reads, because more may come meanwhile.
	endedReads = 1024
	// endedFresh bounds the time since a connection that has ended received something. If
	// it was silent for longer, its round-trip time tells nothing about the present.
	endedFresh = 2 * time.Second
	// endedLate is how much later than a connection's end the kernel may tell it, at most.
	endedLate = 250 * time.Millisecond
	// endedSpan is for how long the round-trip times of connections that have ended are
	// kept for [Snapshot.Ended]. So those of a second are
	// seen together.
	endedSpan = time.Second
	// maxEnded bounds what is kept of a prefix for that.
	maxEnded = 256
)

// endedSockets tells which TCP connections have ended. The kernel sends a message with the
// last figures of each (inet_diag, since Linux 4.2). A dump shows only those connections
// that live while it is made; many small requests live between two dumps.
type endedSockets struct {
	fd   int // -1: not open
	buf  []byte
	sock tcpSocket
}

func newEndedSockets() *endedSockets { return &endedSockets{fd: -1} }

func (r *endedSockets) open() error {
	if r.fd >= 0 {
		return nil
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	// The kernel doubles the value, and may set a lower one. Either is enough.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, endedBuffer/2)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: endedGroups}); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("ask for TCP connections that end: %w", err)
	}
	if r.buf == nil {
		r.buf = make([]byte, 8<<10) // a message has some 400 bytes
	}
	r.fd = fd
	return nil
}

// Read calls visit for each TCP connection that has ended since the call before; the first
// call begins. The socket is valid during the call only. Connections may be missing, and
// those of all local addresses are told.
func (r *endedSockets) Read(visit func(*tcpSocket)) error {
	if err := r.open(); err != nil {
		return err
	}
	for range endedReads {
		n, from, err := unix.Recvfrom(r.fd, r.buf, unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOBUFS): // some are missing
			continue
		case err != nil:
			_ = r.Close()
			return fmt.Errorf("receive TCP connections that end: %w", err)
		case n > len(r.buf):
			continue
		}
		// Only the kernel has port 0.
		if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
			continue
		}
		_, _, err = dump.Walk(r.buf[:n], 0, func(kind uint16, body []byte) {
			if kind == sockDiagByFamily && parseSocket(body, &r.sock) {
				visit(&r.sock)
			}
		})
		if err != nil {
			return fmt.Errorf("receive TCP connections that end: %w", err)
		}
	}
	return nil
}

func (r *endedSockets) Close() error {
	if r.fd < 0 {
		return nil
	}
	err := unix.Close(r.fd)
	r.fd = -1
	return err
}

// endedRTT is the round-trip time of a connection that has ended.
type endedRTT struct {
	at  time.Duration // Instant.Up
	rtt uint32        // microseconds
}

// ended takes a connection that has ended since the pass before. Its round-trip time counts
// for the minimum, as if a pass had seen the connection alive. No other figure does, because
// these are about connections that live.
func (st *state) ended(now Instant, s *tcpSocket) {
	st.tellEnded(s)
	heard := time.Duration(s.Heard) * time.Millisecond
	// Connections within this host would make each of its networks look best.
	if s.Sample.RTT == 0 || heard > endedFresh || len(st.byAddr[s.Remote]) > 0 {
		return
	}
	paths := st.byAddr[s.Local]
	for _, p := range paths {
		if len(paths) > 1 && s.Device != 0 && int(s.Device) != p.index || p.begun > 0 && heard+endedLate >= now.Up-p.begun {
			continue // it may have ended before this network was there
		}
		p.estimator.Ended(now, s.Sample.RTT)
		st.dests.ended(now, keyOf(p.tag, s.Remote), s.Sample.RTT)
		if len(p.ended) < maxEnded {
			p.ended = append(p.ended, endedRTT{now.Up, s.Sample.RTT})
		}
		st.ends++
	}
}

// tellEnded tells the watcher of a connection that has ended.
func (st *state) tellEnded(s *tcpSocket) {
	if st.watcher == nil {
		return
	}
	paths := st.byAddr[s.Local]
	for _, p := range paths {
		if len(paths) > 1 && s.Device != 0 && int(s.Device) != p.index {
			continue
		}
		st.told = s.connection()
		st.watcher.Ended(p.id, &st.told)
	}
}

// lately returns the median round-trip time of the connections that have ended within
// endedSpan, 0 if there were none.
func (p *path) lately(now Instant) time.Duration {
	p.ended = slices.DeleteFunc(p.ended, func(e endedRTT) bool { return now.Up-e.at >= endedSpan })
	if len(p.ended) == 0 {
		return 0
	}
	rtts := make([]uint32, 0, len(p.ended))
	for _, e := range p.ended {
		rtts = append(rtts, e.rtt)
	}
	return micros(median(rtts))
}
