package replay

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/socket-intents/mamma/internal/operator/decisionlog"
	"github.com/socket-intents/mamma/internal/plugin"
	"github.com/socket-intents/mamma/policy"
)

// Command is the command "mammactl replay".
type Command struct {
	Policies policy.Catalogue // those that are compiled in
	Files    []string         // read in this order; "-" is In
	Policy   string           // name, or that of a plugin; "": the one that Config configures
	Config   string           // file with its settings; "": none
	Seed     uint64           // for its random choices
	JSON     bool
	// Differences is how many differing decisions are listed; negative: all. With
	// JSON, all decisions are listed.
	Differences int

	In       io.Reader
	Out, Err io.Writer
	// Width is the number of cells in a line of text; 0: any number.
	Width int
	// Begin is called before the files are read. far tells the progress, and may be
	// called by another goroutine. The returned function is called before the summary
	// is printed. Begin may be nil.
	Begin func(far func() Progress) (end func())

	far *far // progress of the run
}

// far counts how far a run has come.
type far struct{ decisions, bytes atomic.Int64 }

// Progress says how far a Command has come.
type Progress struct {
	Decisions int64
	Read      int64 // bytes
	Size      int64 // of all files; -1: not known
}

// maxComplaints is the number of unreadable lines that are reported one by one.
const maxComplaints = 10

// Run runs the command. It prints results for all lines that can be read. The error
// also tells about lines that cannot be read.
func (c *Command) Run(ctx context.Context) error {
	if len(c.Files) == 0 {
		return errors.New("no file is given")
	}
	if c.Policy == "" && c.Config == "" {
		return errors.New("neither a policy nor a configuration is given")
	}
	var plugins plugin.Loader // a process should have only one; it runs one command
	s, err := Load(ctx, c.Policies, &plugins, c.Policy, c.Config, c.Seed)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	out := bufio.NewWriter(c.Out)
	var p printer = &textPrinter{out: out, policy: s.Name, limit: c.Differences, width: c.Width}
	if c.JSON {
		p = newJSONPrinter(out)
	}
	var sum Summary
	bad := 0
	c.far = new(far)
	end := c.begin()
	defer end()
	for _, file := range c.Files {
		each := func(r *Result) error {
			sum.Add(r)
			c.far.decisions.Add(1)
			return errors.Join(ctx.Err(), p.result(r))
		}
		err := c.read(ctx, file, s, each, func(e *decisionlog.LineError) {
			if bad++; bad <= maxComplaints {
				_, _ = fmt.Fprintf(c.Err, "%s\n", clean(fmt.Sprintf("%s:%d: %v", file, e.Line, e.Err)))
			}
		})
		if errors.As(err, new(*fs.PathError)) { // such an error already names the file
			return err
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	end()
	if err := errors.Join(p.summary(&sum), out.Flush()); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d lines could not be read", bad)
	}
	return nil
}

func (c *Command) read(ctx context.Context, file string, s *Subject, each func(*Result) error, bad func(*decisionlog.LineError)) error {
	open := func() (io.ReadCloser, error) { return os.Open(file) }
	if file == "-" {
		open = func() (io.ReadCloser, error) { return io.NopCloser(c.In), nil }
	}
	in := untilDone(ctx, open)
	defer in.Close() //nolint:errcheck // only read
	return Run(&counter{in, &c.far.bytes}, s, each, bad)
}

// untilDone reads what open opens. When ctx ends, reading fails with ctx's error.
// Without this, a pipe could block reading for ever: it may have no writer, or a silent
// or endless one. A blocked system call cannot be cancelled, so a goroutine makes it,
// which may be left behind.
func untilDone(ctx context.Context, open func() (io.ReadCloser, error)) io.ReadCloser {
	out, in := io.Pipe()
	stop := context.AfterFunc(ctx, func() { _ = in.CloseWithError(ctx.Err()) })
	go func() {
		defer stop()
		from, err := open()
		if err == nil {
			_, err = io.Copy(in, from)
			_ = from.Close() // only read
		}
		_ = in.CloseWithError(cmp.Or(ctx.Err(), err)) // a nil error means the end of the file
	}()
	return out
}

// begin calls Begin. The returned function may be called more than once.
func (c *Command) begin() (end func()) {
	if c.Begin == nil {
		return func() {}
	}
	size := int64(0)
	for _, file := range c.Files {
		info, err := os.Stat(file)
		if file == "-" || err != nil || !info.Mode().IsRegular() {
			size = -1
			break
		}
		size += info.Size()
	}
	return sync.OnceFunc(c.Begin(func() Progress { return Progress{c.far.decisions.Load(), c.far.bytes.Load(), size} }))
}

// counter counts what is read.
type counter struct {
	from io.Reader
	n    *atomic.Int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// printer shows results as they come, and the summary at the end.
type printer interface {
	result(*Result) error
	summary(*Summary) error
}
