package proxy

import (
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	// processorsEvery is how often it is looked whether one processor is enough.
	processorsEvery = 100 * time.Millisecond
	// processorsCalm is for how long one must have been enough before the others are given
	// up. To change the number stops all goroutines for tens of microseconds.
	processorsCalm = 3
	// processorsIdle is after how long without requests it is no longer looked, so that an
	// idle proxy wakes nobody. The proxy then may use all.
	processorsIdle = time.Second
	// fewClients is how many connections one client at a time may have. It is two, because
	// the client may connect again before the end of its last connection is noted.
	fewClients = 2
	// processorBusy is the part of a processor's time above which one is not enough.
	processorBusy = 0.75
)

// processors lets Go's scheduler use one processor of the host while one client at a time
// makes requests, and all of them otherwise. With several, each new goroutine wakes a
// second thread. The thread looks for work, finds none, and takes time from the server
// and the client of the request if these are on this host. It is safe for concurrent
// use.
type processors struct {
	clients func() int
	spent   func() time.Duration // processor time of this process
	use     func(one bool)

	mu      sync.Mutex
	running bool      // look runs
	last    time.Time // of the latest request
	calm    int       // for how many looks one has been enough
	one     bool
}

// newProcessors makes a processors for a server with this many clients. It returns nil
// if there is nothing to choose from: the host has one processor, or the environment
// says how many to use.
func newProcessors(clients func() int) *processors {
	if runtime.GOMAXPROCS(0) == 1 || os.Getenv("GOMAXPROCS") != "" {
		return nil
	}
	return &processors{clients: clients, spent: processorTime, use: func(one bool) {
		if one {
			runtime.GOMAXPROCS(1)
		} else {
			runtime.SetDefaultGOMAXPROCS() // follows control groups again
		}
	}}
}

// processorTime returns how much processor time this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // with valid arguments it cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// request notes a request.
func (p *processors) request() {
	if p == nil {
		return
	}
	several := p.clients() > fewClients
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
	if several {
		p.allLocked()
	}
	if !p.running {
		p.running = true
		go p.look()
	}
}

func (p *processors) allLocked() {
	p.calm = 0
	if p.one {
		p.one = false
		p.use(false)
	}
}

// look looks until there are no requests any more.
func (p *processors) look() {
	tick := time.NewTicker(processorsEvery)
	defer tick.Stop()
	at, spent := time.Now(), p.spent()
	for range tick.C {
		now, total := time.Now(), p.spent()
		busy := total-spent > time.Duration(processorBusy*float64(now.Sub(at)))
		at, spent = now, total
		several := p.clients() > fewClients
		p.mu.Lock()
		switch {
		case now.Sub(p.last) >= processorsIdle:
			p.allLocked()
			p.running = false
			p.mu.Unlock()
			return
		case busy, several:
			p.allLocked()
		case p.one:
		default:
			if p.calm++; p.calm >= processorsCalm {
				p.one = true
				p.use(true)
			}
		}
		p.mu.Unlock()
	}
}
