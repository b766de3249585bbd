package socks

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// canPark tells whether a lot can be used.
const canPark = true

// lot is where the directions of idle connections wait, without a goroutine for each.
// Two goroutines are most of the memory that an idle connection takes, because their
// stacks have grown during earlier work. The zero value is ready to use.
type lot struct {
	mu     sync.Mutex
	file   *os.File // the epoll(7) instance; nil until the first direction parks
	rc     syscall.RawConn
	last   int32
	parked map[int32]*flow
	closed bool
	wait   sync.WaitGroup
}

// park lets f wait until f's source can be read, or until wake is called; then f's
// resume runs in a goroutine of its own. If park returns true, f waits, and the caller
// must not go on with f. If it returns false, f does not wait.
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
	p.parked[id] = f // the kernel may report f, or somebody may close its source, from the next line on
	f.parked = id
	rc := p.rc
	p.mu.Unlock()
	var err error
	closed := source.Control(func(fd uintptr) {
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: id}
		if rc.Control(func(epoll uintptr) {
			err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, int(fd), &event)
			if errors.Is(err, unix.EEXIST) { // f has waited before
				err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_MOD, int(fd), &event)
			}
		}) != nil {
			err = os.ErrClosed
		}
	})
	if closed == nil && err == nil {
		return true
	}
	return !p.take(f) // whoever has taken f in the meantime resumes it
}

// openLocked makes the epoll instance, and a goroutine that waits for its events.
func (p *lot) openLocked() bool {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	if err := unix.SetNonblock(fd, true); err != nil { // makes the runtime's poller wait for it, not a thread
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

// serve wakes the directions whose sources can be read.
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

// wake resumes f if f waits here.
func (p *lot) wake(f *flow) {
	if p.take(f) {
		go f.resume()
	}
}

// take takes f out of the lot. It tells whether f was there.
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

// close resumes all directions. The lot takes none after that.
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
