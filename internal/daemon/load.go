package daemon

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/plugin"
	"github.com/socket-intents/mamma/policy"
)

// loader finds the policies that configurations name.
type loader struct {
	known   policy.Catalogue // the policies that are compiled in
	plugins plugin.Loader
}

// found is a policy that was found for a configuration.
type found struct {
	name  string // to show
	title string // name in places where the original's words are expected
	file  string // of a plugin; "" if compiled in
	make  plugin.New
}

// configuration reads the configuration that the options name.
func (l *loader) configuration(ctx context.Context, o *Options) (cfg *config.Config, err error) {
	if cfg = config.Auto(); o.ConfigPath != "" {
		if cfg, err = l.readConfig(ctx, o.ConfigPath); err != nil {
			return nil, err
		}
	}
	o.Overrides.apply(cfg)
	return cfg, nil
}

// readConfig reads a configuration. If it has errors, readConfig also reports the
// errors in its policy's settings, so that a user sees all of them at once.
func (l *loader) readConfig(ctx context.Context, path string) (*config.Config, error) {
	cfg, err := config.Load(ctx, path)
	if e := (*config.Error)(nil); errors.As(err, &e) && e.Partial != nil {
		return nil, e.Join(l.tryPolicy(e.Partial))
	}
	return cfg, err
}

// tryPolicy returns the errors in the policy's name and settings. It opens no plugins.
func (l *loader) tryPolicy(cfg *config.Config) error {
	own, path, err := l.locate(cfg)
	if err != nil || path != "" || own == "" {
		return err
	}
	p, err := l.makePolicy(cfg, func(c policy.Config) (policy.Policy, error) { return l.known.New(own, c) }, nil)
	if closer, ok := p.(io.Closer); ok && err == nil {
		err = closer.Close()
	}
	return err
}

// constructor finds the policy of a configuration. It looks in this order: a plugin at
// exactly that path, a compiled-in policy under its own or its original name, and
// NAME.so in the policy path.
func (l *loader) constructor(cfg *config.Config) (found, error) {
	own, path, err := l.locate(cfg)
	switch {
	case err != nil:
		return found{}, err
	case own != "":
		make := func(c policy.Config) (policy.Policy, error) { return l.known.New(own, c) }
		return found{name: own, title: l.known.Title(own), make: make}, nil
	}
	newPolicy, err := l.plugins.Open(path)
	if err != nil {
		return found{}, refused(cfg, err)
	}
	name := strings.TrimSuffix(filepath.Base(path), ".so")
	return found{name: name, title: name, file: path, make: newPolicy}, nil
}

// locate returns the name of a compiled-in policy, or the path of a plugin. Both are ""
// if the configuration names no policy.
func (l *loader) locate(cfg *config.Config) (own, path string, err error) {
	if own, path, err = plugin.Locate(l.known, cfg.Policy.Name, cfg.PolicyPath); err != nil {
		if name := cfg.Policy.Name; !plugin.IsPath(name) {
			err = config.UnknownPolicy(name, l.known.Names(), err)
		}
		return "", "", refused(cfg, err)
	}
	return own, path, nil
}

// refused adds to an error where the policy is named and what the user can do.
func refused(cfg *config.Config, err error) error {
	hint := ""
	if e := (*plugin.Error)(nil); errors.As(err, &e) && e.Hint != "" {
		hint = "\n    " + e.Hint
	}
	return cfg.ErrorAt(cfg.Policy.Pos, "%v%s", err, hint)
}

// makePolicy makes the policy for the given prefixes.
func (l *loader) makePolicy(cfg *config.Config, newPolicy plugin.New, prefixes []*policy.Prefix) (policy.Policy, error) {
	pc := cfg.PolicyConfig()
	pc.Prefixes = prefixes
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails
	pc.Seed = binary.NativeEndian.Uint64(seed[:])
	p, err := construct(newPolicy, pc)
	if err != nil {
		l.addReaders(err)
		return nil, placed(cfg, cfg.Explain(err))
	}
	return p, nil
}

// placed makes an error of a policy say where the file names the policy. Errors about the
// policy's settings say already where these are.
func placed(cfg *config.Config, err error) error {
	if _, ok := errors.AsType[*config.Error](err); ok || err == nil || cfg.Policy.Pos.Line == 0 {
		return err
	}
	return cfg.ErrorAt(cfg.Policy.Pos, "%v", err)
}

// unopened warns about a policy that chooses subflows although nothing opens them. The
// original left this to its kernel, so its grammar has no setting for it. A SubflowHedger
// needs none in the usual case: it keeps them back until a connection is late.
func unopened(cfg *config.Config, p policy.Policy) (warnings []string) {
	if _, ok := p.(policy.SubflowHedger); ok {
		return nil
	}
	if _, ok := p.(policy.SubflowChooser); !ok || cfg.MPTCP.PathManager != config.PathManagerOff {
		return nil
	}
	how := `mptcp { path_manager = "kernel" }`
	if cfg.Original {
		how += ", in HCL only (mamma --convert makes it of this file)"
	}
	return []string{cfg.ErrorAt(cfg.Policy.Pos, "policy %q chooses the subflows of MPTCP connections, and this daemon opens none: each has its first one only, unless something else on this host opens more; to have them opened: %s", cfg.Policy.Name, how).Error()}
}

// addReaders adds to errors about unknown settings which compiled-in policies know
// these settings.
func (l *loader) addReaders(err error) {
	switch x := err.(type) { //nolint:errorlint // walks the tree itself
	case *policy.UnknownSettingError:
		x.ReadBy = l.known.Readers(x.Name, !strings.HasPrefix(x.Block, "policy "))
	case interface{ Unwrap() error }:
		l.addReaders(x.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range x.Unwrap() {
			l.addReaders(one)
		}
	}
}

// constructLimit is how long the making of a policy may take. It is far more than a
// policy needs that reads a file, and short enough for an operator who waits for a
// reload.
const constructLimit = 5 * time.Second

// construct calls a constructor. The constructor may panic, return nothing, or never
// return. In the last case its goroutine stays until the process ends.
func construct(newPolicy plugin.New, c policy.Config) (policy.Policy, error) {
	type result struct {
		policy policy.Policy
		err    error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if v := recover(); v != nil {
				r = result{err: fmt.Errorf("policy %s: New panicked: %v", c.Name, v)}
			}
			done <- r
		}()
		if r.policy, r.err = newPolicy(c); r.policy == nil && r.err == nil {
			r.err = fmt.Errorf("policy %s: New returned neither a policy nor an error", c.Name)
		}
	}()
	limit := time.NewTimer(constructLimit)
	defer limit.Stop()
	select {
	case r := <-done:
		return r.policy, r.err
	case <-limit.C:
		return nil, fmt.Errorf("policy %s: New has not returned within %v", c.Name, constructLimit)
	}
}
