// Package suspend tells when the host has slept. Meanwhile timers and monotonic clocks
// stand still (CLOCK_MONOTONIC, clock_gettime(2)), and the kernel does not tell the
// process.
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
	// least is the shortest time that counts as sleep. The two clocks are read one
	// after the other, and the process may have to wait between the readings.
	least = 500 * time.Millisecond
	// lookInterval is the time between two looks at the clocks if the kernel does not
	// report jumps.
	lookInterval = 2 * time.Second
)

// Slept returns how long the host has slept since it was started. CLOCK_BOOTTIME counts
// that time and CLOCK_MONOTONIC does not.
func Slept() time.Duration {
	var boot, mono unix.Timespec
	// These calls cannot fail since Linux 2.6.39. If one did, the host would count as
	// never having slept.
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano())
}

// Watch calls resumed each time the host has slept, within milliseconds after it wakes.
// It returns nil when ctx ends.
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

// watch looks at slept whenever the clock was changed, and at each tick.
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

// timer is a timer that the kernel cancels when the wall clock jumps
// (TFD_TIMER_CANCEL_ON_SET, timerfd_create(2)). The wall clock jumps when the host
// wakes.
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

// arm sets the timer to a time that is never reached.
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

// wait reports each jump of the clock until the timer is closed.
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
		// A jump before arm is not reported, but the next look at the clocks finds it.
		if t.arm() != nil {
			return
		}
	}
}
