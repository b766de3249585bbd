package systembus

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"syscall"
	"time"
)

const (
	// firstRetry is the pause before the bus is joined again after the connection was
	// lost. Each failure doubles the pause, up to lastRetry.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// Keep calls session again whenever it ends, after a pause, until ctx ends. It logs why
// session ended as a failure of what. While sessions keep failing, it logs that once.
// It does not log that there is no bus, which is usual on routers and in containers.
func Keep(ctx context.Context, log *slog.Logger, what string, session func(context.Context) error) {
	retry, failing := firstRetry, ""
	for ctx.Err() == nil {
		began := time.Now()
		err := session(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > lastRetry {
			retry, failing = firstRetry, ""
		}
		if err != nil && err.Error() != failing && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
			failing = err.Error()
			log.Warn(what+"; trying again", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
		retry = min(2*retry, lastRetry)
	}
}
