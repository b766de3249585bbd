package plugin

// Kind says what is wrong with a plugin.
type Kind uint8

// The kinds of error. Changed, WrongSymbol and Failed need a restart of the daemon once
// the cause is mended, because the file was opened. The others do not.
const (
	Missing     Kind = iota + 1 // there is no such file, or it cannot be read
	Permissions                 // others can write to the file, or to a directory on its path
	NotPlugin                   // the file is something else
	OtherBuild                  // toolchain, settings or shared packages are not the daemon's
	WrongSymbol                 // New is missing or of another type
	Unsupported                 // this program was built without cgo and opens no plugins
	Changed                     // the file, or another build of it, is open already
	Failed                      // the dynamic linker or the plugin's own initialization failed
)

func (k Kind) String() string {
	switch k {
	case Missing:
		return "missing"
	case Permissions:
		return "permissions"
	case NotPlugin:
		return "not a plugin"
	case OtherBuild:
		return "other build"
	case WrongSymbol:
		return "wrong symbol"
	case Unsupported:
		return "unsupported"
	case Changed:
		return "changed"
	case Failed:
		return "failed"
	}
	return "unknown"
}

// Error says why a plugin was refused.
type Error struct {
	Kind   Kind
	Path   string // as asked for
	Reason string // continues "policy plugin PATH ..."
	Hint   string // what to do: a sentence that ends in a command, or ""
	Err    error  // cause, or nil
}

// Error is one line, without the hint.
func (e *Error) Error() string {
	s := "policy plugin " + e.Path + " " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// at returns a copy of e with the path that was asked for.
func (e *Error) at(path string) *Error {
	c := *e
	c.Path = path
	return &c
}
