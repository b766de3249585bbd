package plugin

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/socket-intents/mamma/policy"
)

// Symbol is the name that a plugin exports its constructor under.
const Symbol = "New"

// New is the type that the plugin's constructor has.
type New = func(policy.Config) (policy.Policy, error)

// Loader opens plugins and remembers them, because Go cannot unload a plugin. The zero
// value is ready. A process should have one Loader only: a second one does not know what
// the first one has opened. A Loader may be used concurrently.
type Loader struct {
	mu     sync.Mutex
	self   *build // the running program's; nil until first needed
	opened []opened
}

// opened is a plugin that was opened, with success or not. It stays part of this
// process.
type opened struct {
	file  string // canonical path
	sum   [sha256.Size]byte
	build *build
	newFn New
	err   *Error // why it is of no use although it was opened
}

// Open checks the plugin at path and opens it. If the same file was opened before, Open
// returns the result of that. Errors are of type *Error, whose Kind tells them apart. A
// file that fails a check is not opened; once it is mended, Open can open it without a
// restart. A file that has changed after it was opened needs a restart.
func (l *Loader) Open(path string) (New, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	newFn, err := l.openLocked(path)
	if err != nil { // not returned as it is: a nil *Error makes a non-nil error
		return nil, err.at(path)
	}
	return newFn, nil
}

func (l *Loader) openLocked(path string) (New, *Error) {
	f, canonical, fail := openTrusted(path, os.Geteuid())
	if fail != nil {
		return nil, fail
	}
	defer func() { _ = f.Close() }() // read only: nothing to lose
	if !supported {
		return nil, &Error{Kind: Unsupported,
			Reason: "cannot be opened: this mamma was built without cgo",
			Hint:   "Use a policy that is compiled in, or a mamma built with CGO_ENABLED=1."}
	}
	b, fail := readPlugin(f)
	if fail != nil {
		return nil, fail
	}
	sum, err := digest(f)
	if err != nil {
		return nil, &Error{Kind: Missing, Reason: "cannot be read", Err: err}
	}
	for _, o := range l.opened {
		if o.sum == sum {
			return o.newFn, o.err
		}
	}
	if l.self == nil {
		if l.self, err = readSelf(); err != nil {
			return nil, &Error{Kind: Failed, Reason: "cannot be checked", Err: err}
		}
	}
	if d := compare(l.self, b); d != "" {
		return nil, &Error{Kind: OtherBuild, Hint: rebuildHint(l.self, b),
			Reason: fmt.Sprintf("was built for another mamma (%s)", d)}
	}
	for _, o := range l.opened {
		if o.file == canonical || o.build.samePlugin(b) {
			return nil, replaced(o.file, canonical)
		}
		// A package that the daemon lacks comes from the first plugin that has it, so
		// the next plugin must have been built with the same one.
		if d := compareShared(o.build, b); d != "" {
			return nil, &Error{Kind: OtherBuild, Hint: rebuildHint(l.self, b),
				Reason: fmt.Sprintf("does not fit to %s, which is open already (%s)", o.file, d)}
		}
	}
	o := opened{file: canonical, sum: sum, build: b}
	o.newFn, o.err = load(canonical)
	if o.err == nil {
		o.err = unchanged(f, canonical)
	}
	if o.err != nil {
		o.newFn = nil
	}
	l.opened = append(l.opened, o)
	return o.newFn, o.err
}

func replaced(loaded, now string) *Error {
	e := &Error{Kind: Changed, Hint: "Restart mamma to load it."}
	if loaded == now {
		e.Reason = "has changed since it was opened"
	} else {
		e.Reason = fmt.Sprintf("is another build of %s, which is open already", loaded)
	}
	return e
}

// load opens the file, looks up its constructor and checks its type.
func load(file string) (newFn New, fail *Error) {
	// A plugin's init functions run here, and may panic. The plugin package then
	// holds a half-open plugin that a second attempt would wait for without end;
	// the Loader's memory prevents that attempt.
	defer func() {
		if r := recover(); r != nil {
			newFn, fail = nil, &Error{Kind: Failed, Reason: "could not be opened",
				Err: fmt.Errorf("its initialization panicked: %v", r)}
		}
	}()
	sym, err := lookup(file, Symbol)
	switch {
	case errors.Is(err, errNoSymbol):
		return nil, &Error{Kind: WrongSymbol, Hint: restartHint,
			Reason: fmt.Sprintf("exports no %s; it must have %s", Symbol, wantNew)}
	case err != nil:
		return nil, &Error{Kind: Failed, Reason: "could not be opened", Err: err}
	}
	newFn, ok := sym.(New)
	if !ok {
		return nil, &Error{Kind: WrongSymbol, Hint: restartHint,
			Reason: fmt.Sprintf("exports a %s of type %T; it must have %s", Symbol, sym, wantNew)}
	}
	return newFn, nil
}

var errNoSymbol = errors.New("no such symbol")

const (
	wantNew     = "func New(policy.Config) (policy.Policy, error)"
	restartHint = "Mend it, and then restart mamma, because Go cannot unload it."
)

func digest(f io.ReaderAt) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<62)); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
