package mam

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/socket-intents/mamma/policy"
)

// callLimit is the time after which a policy's call counts as stuck. Policies take
// microseconds. A second is far longer than any pause of the garbage collector or wait
// for a swapped-out page, and still short for the clients that wait.
const callLimit = time.Second

// errRetired says that the policy is out of service and why.
type errRetired struct{ reason string }

func (e errRetired) Error() string { return e.reason }

// errReplaced says that a reload closed the policy before the request reached it. The
// caller should ask the current policy.
var errReplaced = errors.New("policy was replaced")

// Runner calls a policy. It makes one call at a time, recovers from panics, and
// abandons stuck calls (see the drawing in the package comment). It is safe for
// concurrent use.
type Runner struct {
	Name   string
	policy policy.Policy
	log    *slog.Logger
	self   Decider

	// turn holds a token while a call runs. An abandoned call keeps the token for ever.
	turn chan struct{}

	// state counts the starts and ends of calls, so that it is odd while a call runs.
	// The high bit marks the running call as abandoned. started and takeover belong to
	// the running call.
	state    atomic.Uint64
	started  atomic.Int64 // nanoseconds since epoch
	takeover func()
	epoch    time.Time

	retired chan struct{} // closed when the policy is out of service or replaced
	once    sync.Once
	why     error // set before retired is closed

	panics atomic.Uint64
}

const abandoned = 1 << 63

// NewRunner makes the Runner of p. From then on only the Runner may call p.
func NewRunner(name string, p policy.Policy, log *slog.Logger) *Runner {
	r := &Runner{
		Name: name, policy: p, log: log,
		turn: make(chan struct{}, 1), retired: make(chan struct{}), epoch: time.Now(),
	}
	r.self = Decider{weak.Make(r)}
	return r
}

// Decider says which policy made a decision. A policy that was made again, as at a
// reload, is another one: it does not know the tokens of the one before. The zero value
// stands for no policy. Deciders can be compared, and do not keep a policy in memory.
type Decider struct{ runner weak.Pointer[Runner] }

// Decider identifies the policy of r.
func (r *Runner) Decider() Decider { return r.self }

// Panics tells how often the policy has panicked.
func (r *Runner) Panics() uint64 { return r.panics.Load() }

// Err says why the policy is out of service, nil while it is in service.
func (r *Runner) Err() error {
	select {
	case <-r.retired:
		return r.why
	default:
		return nil
	}
}

func (r *Runner) retire(why error) {
	r.once.Do(func() {
		r.why = why
		close(r.retired)
	})
}

// call waits for the policy's turn and runs f, which calls the policy. If f is stuck,
// call starts takeover (may be nil) on another goroutine, to answer the client in the
// caller's place. If the stuck f returns after all, call returns mine = false, and the
// caller must touch nothing any more. An error means that f was not run (errRetired,
// errReplaced) or panicked.
func (r *Runner) call(takeover func(), f func(policy.Policy)) (mine bool, err error) {
	select {
	case <-r.retired:
		return true, r.why
	default:
	}
	select {
	case r.turn <- struct{}{}:
	default:
		select {
		case r.turn <- struct{}{}:
		case <-r.retired:
			return true, r.why
		}
	}
	select {
	case <-r.retired: // retired while this call waited
		<-r.turn
		return true, r.why
	default:
	}
	r.takeover = takeover
	r.started.Store(int64(time.Since(r.epoch)))
	s := r.state.Add(1)
	err = r.contain(f)
	if !r.state.CompareAndSwap(s, s+1) {
		return false, err
	}
	<-r.turn
	return true, err
}

// contain calls f and turns a panic into an error.
func (r *Runner) contain(f func(policy.Policy)) (err error) {
	defer func() {
		if v := recover(); v != nil {
			what := cut(fmt.Sprint(v), maxReason)
			err = errors.New("policy panicked: " + what)
			if r.panics.Add(1) == 1 {
				r.log.Error("policy panicked; further panics are only counted", "policy", r.Name, "panic", what, "stack", string(debug.Stack()))
			}
		}
	}()
	f(r.policy)
	return nil
}

// check looks whether the running call has taken longer than limit. If so, check
// abandons the call, puts the policy out of service, starts the call's takeover, and
// returns true. Manager.Run calls check every watchInterval.
func (r *Runner) check(limit time.Duration) (retired bool) {
	s := r.state.Load()
	if s%2 == 0 || s&abandoned != 0 || time.Since(r.epoch)-time.Duration(r.started.Load()) < limit {
		return false
	}
	if !r.state.CompareAndSwap(s, s|abandoned) {
		return false
	}
	why := errRetired{fmt.Sprintf("policy %s is out of service: a call took more than %v", r.Name, limit)}
	r.log.Error(why.reason+"; the default prefix is used until the configuration is reloaded", "policy", r.Name)
	r.retire(why)
	if r.takeover != nil {
		go r.takeover()
	}
	return true
}

// Close takes the policy out of service and waits until a running call has finished or
// is abandoned. Then it calls the policy's Close method, if there is one. A Close that
// does not return is left behind, with an error.
func (r *Runner) Close() error {
	r.retire(errReplaced)
	if errors.As(r.why, new(errRetired)) {
		return nil // the stuck call still uses the policy
	}
	for r.turnTaken() {
		r.check(callLimit)
	}
	if r.state.Load()&abandoned != 0 {
		return nil
	}
	c, ok := r.policy.(interface{ Close() error })
	if !ok {
		return nil
	}
	done := make(chan error, 1)
	go func() {
		var err error
		panicked := r.contain(func(policy.Policy) { err = c.Close() })
		done <- errors.Join(err, panicked)
	}()
	t := time.NewTimer(callLimit)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		return fmt.Errorf("its Close has not returned within %v", callLimit)
	}
}

// turnTaken tries to take the turn for good. It returns true if a running call has the
// turn.
func (r *Runner) turnTaken() bool {
	t := time.NewTimer(callLimit)
	defer t.Stop()
	select {
	case r.turn <- struct{}{}:
		return false
	case <-t.C:
		return r.state.Load()&abandoned == 0
	}
}
