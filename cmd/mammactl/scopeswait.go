package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/process/cgroup"
)

const (
	// waitPause is how often a scope is looked at. A service starts later by half of it.
	waitPause = 50 * time.Millisecond
	// waitLimit is less than the time that systemd gives a unit to start (90 s).
	waitLimit = 30 * time.Second
)

// errNoSuchScope says that waiting is in vain.
var errNoSuchScope = errors.New("the configuration has no such scope")

// waitForScope returns when the kernel places the connections of this process's control
// group by a scope. Until limit is over, it waits for the daemon, too.
func (a *app) waitForScope(ctx context.Context, name string, limit time.Duration) error {
	own, err := ownGroup()
	if err != nil {
		return fmt.Errorf("the control group of mammactl: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var why error
	for ctx.Err() == nil {
		ready, final := a.lookAtScope(ctx, name, own)
		switch {
		case ready == nil:
			return nil
		case final:
			return inScope(name, ready)
		case ctx.Err() == nil || why == nil:
			why = ready
		}
		select {
		case <-time.After(waitPause):
		case <-ctx.Done():
		}
	}
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return inScope(name, ctx.Err())
	}
	return inScope(name, fmt.Errorf("not within %s: %w", durationText(limit), why))
}

// lookAtScope tells why the kernel does not place the connections of a control group by a
// scope; nil: it does. final tells that this will stay so.
func (a *app) lookAtScope(ctx context.Context, name string, own func(dir string) bool) (why error, final bool) {
	c := a.client() // a new one each time: another daemon may have come, at another path
	defer c.Close()
	var s control.Scopes
	if _, err := c.Get(ctx, "/v1/scopes", &s); err != nil {
		var refused *control.RemoteError
		return err, errors.As(err, &refused) && (refused.Status == http.StatusForbidden || refused.Status == http.StatusNotImplemented)
	}
	why = places(&s, name, own)
	return why, errors.Is(why, errNoSuchScope)
}

func inScope(name string, err error) error {
	return fmt.Errorf("connections are not placed by scope %q: %w", name, err)
}

// places tells why the kernel does not place the connections of a control group by a scope,
// or not all of them. The result is nil if it does. own tells whether a directory is that of
// the group.
func places(s *control.Scopes, name string, own func(dir string) bool) error {
	i := slices.IndexFunc(s.Scopes, func(x control.Scope) bool { return x.Name == name })
	switch {
	case i < 0:
		return errNoSuchScope
	case s.Detached:
		return errors.New("nothing is placed, as was asked for with --detach")
	case s.Error != nil:
		return errors.New(*s.Error)
	case len(s.Hooks) == 0 || s.Root == nil:
		return errors.New("nothing is attached yet")
	case len(s.MissingHooks) > 0:
		return fmt.Errorf("the kernel lacks %s", strings.Join(s.MissingHooks, ", "))
	case !slices.ContainsFunc(s.Scopes[i].Groups, func(g string) bool { return own(filepath.Join(*s.Root, g)) }):
		return errors.New("the control group that mammactl runs in does not belong to it")
	}
	return nil
}

// ownGroup returns what tells whether a directory is that of this process's control group.
func ownGroup() (func(dir string) bool, error) {
	mount, err := cgroup.Mount()
	if err != nil {
		return nil, err
	}
	own, err := os.Stat(filepath.Join(mount, cgroup.Own()))
	if err != nil {
		return nil, err
	}
	return func(dir string) bool {
		d, err := os.Stat(dir)
		return err == nil && os.SameFile(own, d)
	}, nil
}
