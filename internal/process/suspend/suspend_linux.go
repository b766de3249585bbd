// Package suspend tells when the host has slept. Timers and monotonic clocks stand still
// meanwhile (CLOCK_MONOTONIC, clock_gettime(2)), and nothing else tells a process.
package suspend

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// least is what counts as sleep: clocks are read one after the other, and the process
	// may have to wait between two readings.
	least = 500 * time.Millisecond
	// lookInterval is between two looks where the kernel gives no word.
	lookInterval = 2 * time.Second
)

// Slept is how long the host has slept since it was started: what CLOCK_BOOTTIME counts and
// CLOCK_MONOTONIC does not.
func Slept() time.Duration {
	var boot, mono unix.Timespec
	// They cannot fail since Linux 2.6.39; if one did, the host has never slept.
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano())
}

// Watch calls resumed each time that the host has slept, within milliseconds of its
// waking, until ctx ends. It returns nil then.
func Watch(ctx context.Context, resumed func(slept time.Duration)) error {
	changed := make(chan struct{}, 1)
	timer, err := openTimer()
	if err == nil {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			timer.wait(changed)
		}()
		defer func() {
			_ = timer.f.Close()
			<-ended
		}()
	}
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	watch(ctx, Slept, changed, tick.C, resumed)
	return nil
}

// watch looks at slept whenever the clock was changed, and now and then.
func watch(ctx context.Context, slept func() time.Duration, changed <-chan struct{}, tick <-chan time.Time, resumed func(time.Duration)) {
	last := slept()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick:
		}
		now := slept()
		if now-last >= least {
			resumed(now - last)
		}
		last = max(last, now)
	}
}

// timer is one that is cancelled when the wall clock jumps (TFD_TIMER_CANCEL_ON_SET,
// timerfd_create(2)), as it does on waking.
type timer struct{ f *os.File }

func openTimer() (timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return timer{}, fmt.Errorf("make a timer: %w", err)
	}
	t := timer{os.NewFile(uintptr(fd), "timerfd")}
	if err := t.arm(); err != nil {
		_ = t.f.Close()
		return timer{}, err
	}
	return t, nil
}

// arm sets the timer to a time that does not come.
func (t timer) arm() error {
	c, err := t.f.SyscallConn()
	if err != nil {
		return err
	}
	never := unix.ItimerSpec{Value: unix.Timespec{Sec: math.MaxInt32}}
	var set error
	err = c.Control(func(fd uintptr) {
		set = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &never, nil)
	})
	return errors.Join(err, set)
}

// wait tells of each change of the clock until the timer is closed.
func (t timer) wait(changed chan<- struct{}) {
	var b [8]byte
	for {
		if _, err := t.f.Read(b[:]); err != nil && !errors.Is(err, unix.ECANCELED) {
			return
		}
		select {
		case changed <- struct{}{}:
		default:
		}
		// Who sets the clock between the two is seen by looking.
		if t.arm() != nil {
			return
		}
	}
}
