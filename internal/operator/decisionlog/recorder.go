package decisionlog

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"

	"github.com/socket-intents/mamma/internal/process/ownfile"
	"github.com/socket-intents/mamma/policy"
)

// MinSize is the smallest size that a Recorder can be given. Half of it holds a dozen
// decisions with all that they refer to.
const MinSize = 128 << 10

// queueLength is how many entries may wait for the file. At 10 000 decisions a
// second, the queue bridges 100 ms. A decision holds what its client sent: mostly
// some hundred bytes, at most 16 kB.
const queueLength = 1024

// Recorder writes decisions and transfers to a file, off the request path. An entry
// that finds the queue full is dropped and counted.
//
// The file, and one older part of it named with ".1" at its end, together stay
// below a size. The file holds what programs did on the network, so only its owner
// may read it. The Recorder does not write to a file that belongs to somebody else
// or that others may open.
type Recorder struct {
	log     *slog.Logger
	size    int64 // of each of the two files
	queue   chan noted
	dropped atomic.Uint64

	// The fields below belong to Run.
	file    *ownfile.Log
	encoder Encoder
	buf     []byte
	failed  bool // an error was reported since the last success
}

// noted is a decision or a transfer that waits to be written.
type noted struct {
	policy   string
	request  policy.Request
	decision policy.Decision
	transfer *policy.Transfer // nil: a decision
}

// NewRecorder makes a Recorder that writes to the file at path, and keeps to size bytes
// or to MinSize if that is more. Run does the writing. Without a logger, failures are not
// reported.
func NewRecorder(path string, size int64, log *slog.Logger) *Recorder {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Recorder{log: log, size: max(size, MinSize) / 2, queue: make(chan noted, queueLength), file: ownfile.NewPrivateLog(path)}
}

// Note records a call of the policy of that name. It returns at once. It keeps the
// prefixes of r, and copies everything else. The caller must not change d afterwards.
// Note is safe for concurrent use.
func (r *Recorder) Note(name string, request *policy.Request, d policy.Decision) {
	if len(r.queue) == cap(r.queue) { // saves making the copies
		r.dropped.Add(1)
		return
	}
	n := noted{policy: name, request: *request, decision: d}
	n.request.Prefixes = slices.Clone(request.Prefixes)
	n.request.DestStats = slices.Clone(request.DestStats)
	n.request.Connections = slices.Clone(request.Connections)
	n.request.Sockets = slices.Clone(request.Sockets)
	n.decision.Socket = nil
	for i := range request.Sockets {
		if d.Socket == &request.Sockets[i] {
			n.decision.Socket = &n.request.Sockets[i]
		}
	}
	r.put(n)
}

// NoteTransfer records a transfer that has ended. The policy of that name had decided
// about it. NoteTransfer returns at once, keeps t.Prefix, and copies everything else. It
// is safe for concurrent use.
func (r *Recorder) NoteTransfer(name string, t *policy.Transfer) {
	x := *t
	r.put(noted{policy: name, transfer: &x})
}

func (r *Recorder) put(n noted) {
	select {
	case r.queue <- n:
	default:
		r.dropped.Add(1)
	}
}

// Dropped counts the decisions and transfers that were not recorded.
func (r *Recorder) Dropped() uint64 { return r.dropped.Load() }

// Run writes until ctx ends and everything noted by then is written. The error
// is always nil.
func (r *Recorder) Run(ctx context.Context) error {
	defer r.file.Close()
	for {
		select {
		case n := <-r.queue:
			r.write(&n)
			continue
		case <-ctx.Done():
		}
		for {
			select {
			case n := <-r.queue:
				r.write(&n)
				continue
			default:
			}
			if n := r.Dropped(); n > 0 {
				r.log.Warn("decisions or transfers were not recorded", "path", r.file.Path(), "dropped", n)
			}
			return nil
		}
	}
}

// write writes an entry, and reports the first failure of several in a row.
func (r *Recorder) write(n *noted) {
	err := r.tryWrite(n)
	if err != nil {
		r.encoder.Reset() // it is unknown which lines were written
		r.dropped.Add(1)
		if !r.failed {
			r.log.Error("decisions and transfers cannot be recorded; they are lost until they can", "path", r.file.Path(), "err", err)
		}
	}
	r.failed = err != nil
}

func (r *Recorder) tryWrite(n *noted) error {
	for {
		size, opened, err := r.file.Prepare()
		if err != nil {
			return err
		}
		if opened { // another program may have rotated the file
			r.encoder.Reset()
		}
		r.buf = r.buf[:0]
		if opened && size > 0 {
			r.buf = append(r.buf, '\n') // a crash may have left an incomplete line
		}
		if n.transfer != nil {
			r.buf, err = r.encoder.AppendTransfer(r.buf, n.policy, n.transfer)
		} else {
			r.buf, err = r.encoder.Append(r.buf, n.policy, &n.request, n.decision)
		}
		if err != nil {
			return err
		}
		if int64(len(r.buf)) > r.size {
			return fmt.Errorf("an entry in %d bytes does not fit into a file of %d", len(r.buf), r.size)
		}
		if size == 0 || size+int64(len(r.buf)) <= r.size {
			return r.file.WriteLine(r.buf)
		}
		if err := os.Rename(r.file.Path(), r.file.Path()+".1"); err != nil {
			return err
		}
	}
}
