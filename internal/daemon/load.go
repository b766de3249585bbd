package daemon

import (
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

// found is a policy that a configuration names.
type found struct {
	name  string // to show
	title string // the same where the original's words are expected
	file  string // of a plugin; "" if compiled in
	make  plugin.New
}

// configuration reads what the options name.
func (l *loader) configuration(o *Options) (cfg *config.Config, err error) {
	if cfg = config.Auto(); o.ConfigPath != "" {
		if cfg, err = l.readConfig(o.ConfigPath); err != nil {
			return nil, err
		}
	}
	o.Overrides.apply(cfg)
	return cfg, nil
}

// readConfig reads a configuration. Where it is wrong, what is wrong with its
// policy is told as well.
func (l *loader) readConfig(path string) (*config.Config, error) {
	cfg, err := config.Load(path)
	if e := (*config.Error)(nil); errors.As(err, &e) && e.Partial != nil {
		return nil, e.Join(l.tryPolicy(e.Partial))
	}
	return cfg, err
}

// tryPolicy tells what is wrong with the policy that cfg names, and its settings.
// Plugins are not opened.
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

// constructor finds the policy that a configuration names: the plugin at that
// very path, a compiled-in policy under its own or its original name, or
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

// locate gives the compiled-in policy's own name or the plugin's path; neither if
// no policy is named.
func (l *loader) locate(cfg *config.Config) (own, path string, err error) {
	if own, path, err = plugin.Locate(l.known, cfg.Policy.Name, cfg.PolicyPath); err != nil {
		if name := cfg.Policy.Name; !plugin.IsPath(name) {
			err = config.UnknownPolicy(name, l.known.Names(), err)
		}
		return "", "", refused(cfg, err)
	}
	return own, path, nil
}

// refused says where the policy is named, why it is not loaded, and what to do.
func refused(cfg *config.Config, err error) error {
	hint := ""
	if e := (*plugin.Error)(nil); errors.As(err, &e) && e.Hint != "" {
		hint = "\n    " + e.Hint
	}
	return cfg.ErrorAt(cfg.Policy.Pos, "%v%s", err, hint)
}

// make makes the policy for the prefixes managed now.
func (l *loader) makePolicy(cfg *config.Config, newPolicy plugin.New, prefixes []*policy.Prefix) (policy.Policy, error) {
	pc := cfg.PolicyConfig()
	pc.Prefixes = prefixes
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails
	pc.Seed = binary.NativeEndian.Uint64(seed[:])
	p, err := construct(newPolicy, pc)
	if err != nil {
		l.addReaders(err)
		return nil, cfg.Explain(err)
	}
	return p, nil
}

// unopened tells of a policy that chooses subflows while nobody opens them. The
// original had its kernel do so; a file in its grammar has no word for it.
func unopened(cfg *config.Config, p policy.Policy) (warnings []string) {
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
// them.
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

// constructLimit is how long a policy may take to be made: far more than one
// needs that reads a file, and not so long that an operator gives up on a reload.
const constructLimit = 5 * time.Second

// construct calls a constructor, which may panic, return nothing, or never return.
// In the last case it goes on for as long as the process lives.
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
