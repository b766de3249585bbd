package socks

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// canPark tells that a lot is of use.
const canPark = true

// lot is where directions of idle connections wait without a goroutine each. Two
// goroutines are most of what an idle connection takes: their stacks have grown for
// the work before. The zero value works.
type lot struct {
	mu     sync.Mutex
	file   *os.File // the epoll(7) instance, made for the first one
	rc     syscall.RawConn
	last   int32
	parked map[int32]*flow
	closed bool
	wait   sync.WaitGroup
}

// park has f's resume called in a goroutine of its own once f's source can be read, or
// wake is called. It tells whether f waits now; the caller must not go on then.
func (p *lot) park(f *flow, source syscall.RawConn) bool {
	p.mu.Lock()
	if p.closed || p.file == nil && !p.openLocked() {
		p.mu.Unlock()
		return false
	}
	id := p.last + 1
	for p.parked[id] != nil {
		id++
	}
	p.last = id
	p.parked[id] = f // before the kernel may tell of it, and before its source may be closed
	f.parked = id
	rc := p.rc
	p.mu.Unlock()
	var err error
	closed := source.Control(func(fd uintptr) {
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: id}
		if rc.Control(func(epoll uintptr) {
			err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, int(fd), &event)
			if errors.Is(err, unix.EEXIST) { // it has waited before
				err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_MOD, int(fd), &event)
			}
		}) != nil {
			err = os.ErrClosed
		}
	})
	if closed == nil && err == nil {
		return true
	}
	return !p.take(f) // whoever has taken it makes it go on
}

// openLocked makes the epoll instance, and begins to wait for what it tells.
func (p *lot) openLocked() bool {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that the runtime waits for it
		_ = unix.Close(fd)
		return false
	}
	file := os.NewFile(uintptr(fd), "epoll")
	rc, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return false
	}
	p.file, p.rc, p.parked = file, rc, map[int32]*flow{}
	p.wait.Go(func() { p.serve(rc) })
	return true
}

// serve wakes what can be read.
func (p *lot) serve(rc syscall.RawConn) {
	events := make([]unix.EpollEvent, 64)
	for {
		n := 0
		if rc.Read(func(fd uintptr) bool {
			var err error
			n, err = unix.EpollWait(int(fd), events, 0)
			return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
		}) != nil || n < 0 {
			return
		}
		for _, e := range events[:n] {
			p.mu.Lock()
			f := p.parked[e.Fd]
			p.mu.Unlock()
			if f != nil {
				p.wake(f)
			}
		}
	}
}

// wake makes f go on if it waits here.
func (p *lot) wake(f *flow) {
	if p.take(f) {
		go f.resume()
	}
}

// take tells whether f waited here; it does no more.
func (p *lot) take(f *flow) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.parked == 0 || p.parked[f.parked] != f {
		return false
	}
	delete(p.parked, f.parked)
	f.parked = 0
	return true
}

// close makes all go on, and takes no more.
func (p *lot) close() {
	p.mu.Lock()
	p.closed = true
	all := p.parked
	p.parked = nil
	for _, f := range all {
		f.parked = 0
		go f.resume()
	}
	file := p.file
	p.mu.Unlock()
	if file != nil {
		_ = file.Close()
	}
	p.wait.Wait()
}
