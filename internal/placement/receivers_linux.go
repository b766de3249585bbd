package placement

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/placement/notify"
)

// receivers is the number of calls that are handled at once. With fewer, one thread's call
// would wait for another's while the manager is asked.
const receivers = 16

const (
	// memoryGoal is how much memory is used before what is free is collected. Each
	// connection takes some kilobytes, of which nothing stays.
	memoryGoal = 2 << 20
	// usualGoal is the same as Go has it by itself (GOGC, package runtime).
	usualGoal = 4 << 20
)

// furnish makes the kernel give the memory that is used again and again. Otherwise the
// first connections would wait for it, page by page, which can take longer than all else.
func furnish() {
	debug.SetGCPercent(100 * memoryGoal / usualGoal)
	// Once b is collected, its pages are the ones that are used. An error is ignored: before
	// Linux 5.14, the first connections do wait.
	b := make([]byte, memoryGoal)
	_ = unix.Madvise(b, unix.MADV_POPULATE_WRITE)
	runtime.KeepAlive(b)
}

// receiving are the receivers of a listener. One waits for the next call: the kernel would
// wake all that wait. The receiver that has got a call handles it by itself if the manager
// need not be asked, which takes less time than to wake another thread. Another receiver
// waits for the next call meanwhile if the first one has to wait for something while calls
// queue up, if it has to wait long, and as long as there are more calls than one can handle.
type receiving struct {
	l     *notify.Listener
	start func() // starts one more
	most  int    // that handle calls at the same time, without waiting for anything

	mu           sync.Mutex
	waiting, all int
	wanted       int // that wait if there is no call
	crowd        int // rises with calls that had to wait for a receiver, and falls with others
	// began is when a receiver got the latest call. watch looks whether that is long ago, and
	// watched tells that it will.
	began   time.Time
	watch   *time.Timer
	watched bool
}

func newReceiving(l *notify.Listener) *receiving {
	r := &receiving{l: l, most: min(maxBusy, runtime.NumCPU()), waiting: 1, all: 1, wanted: 1}
	r.watch = time.AfterFunc(time.Hour, r.look)
	r.watch.Stop()
	return r
}

const (
	// yieldEvery is how often a receiver yields to Go's scheduler. If it never does, the
	// scheduler takes it for one that has run since the beginning. After 10 ms of that, the
	// scheduler takes the processor away at each wait for a call, and wakes its own thread
	// for that after each call.
	yieldEvery = 8 * time.Millisecond
	// atOnce is more than it takes to receive a call that is there already, and less than it
	// takes to wait for one.
	atOnce = 10 * time.Microsecond
	// maxBusy is how many receivers are worth their place if nothing is waited for. The
	// threads that call need processors, too.
	maxBusy = 4
	// maxCrowd is how many calls without a pause make one more receiver wait for calls.
	maxCrowd = 32
	// stuckAfter is how long a call may take before another receiver waits for the next one,
	// whatever it is. For instance, the manager may be slow, or a program's memory a file of a
	// slow server's.
	stuckAfter = 5 * time.Millisecond
)

// run handles calls, one after the other.
func (r *receiving) run(p *placer) {
	var buf notify.Buffer
	now := time.Now()
	yielded := now
	for {
		before := now
		c, err := r.l.Receive(&buf)
		if err != nil {
			return // the last process is gone, and this process will end
		}
		now = time.Now()
		r.busy(now, now.Sub(before) < atOnce)
		p.handle(r, c)
		if r.enough() {
			return
		}
		if now = time.Now(); now.Sub(yielded) >= yieldEvery {
			runtime.Gosched()
			now = time.Now()
			yielded = now
		}
	}
}

// busy is called by a receiver that has got a call. queued tells that it was there already
// when the receiver asked.
func (r *receiving) busy(now time.Time, queued bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting--
	r.began = now
	if !r.watched {
		r.watched = true
		r.watch.Reset(stuckAfter)
	}
	if !queued {
		if r.crowd--; r.crowd < 0 {
			r.crowd, r.wanted = 0, max(1, r.wanted-1)
		}
		return
	}
	if r.crowd++; r.crowd >= maxCrowd && r.wanted < r.most {
		r.crowd = maxCrowd / 2
		r.wanted++
		r.addLocked()
	}
	r.crowd = min(r.crowd, maxCrowd)
}

// addLocked starts another receiver.
func (r *receiving) addLocked() {
	if r.all < receivers {
		r.waiting++
		r.all++
		r.start()
	}
}

// blocks is called by a receiver that is about to wait for something else than a call. If
// nobody waits for the next one, it starts another receiver, provided that calls have come
// before somebody waited for them. Otherwise look does if the wait is long: where one thread
// calls after the other, nobody needs another receiver.
func (r *receiving) blocks() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == 0 && r.crowd > 0 {
		r.addLocked()
	}
}

// look starts another receiver if nobody waits for the next call, and the latest one came
// long ago. It goes on to look until a call is received no more.
func (r *receiving) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watched = r.waiting < r.all; !r.watched {
		return
	}
	if r.waiting == 0 && time.Since(r.began) >= stuckAfter {
		r.addLocked()
	}
	r.watch.Reset(stuckAfter)
}

// enough is called by a receiver that has handled a call. It tells whether others wait for
// the next.
func (r *receiving) enough() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting >= r.wanted {
		r.all--
		return true
	}
	r.waiting++
	return false
}

// asking is a context that tells a receiver when somebody begins to wait with it.
type asking struct {
	context.Context
	r *receiving
}

func (a asking) Deadline() (time.Time, bool) {
	a.r.blocks()
	return a.Context.Deadline()
}

func (a asking) Done() <-chan struct{} {
	a.r.blocks()
	return a.Context.Done()
}
