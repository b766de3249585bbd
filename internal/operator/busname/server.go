package busname

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sync/errgroup"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/process/systembus"
	"github.com/socket-intents/mamma/mam"
)

// The name on the bus, the path of its object, and the object's interface.
const (
	Name      = "org.socketintents.Mamma1"
	Path      = dbus.ObjectPath("/org/socketintents/Mamma1")
	Interface = Name
)

const (
	busName       = "org.freedesktop.DBus"
	properties    = busName + ".Properties"
	introspection = busName + ".Introspectable"
	peerInterface = busName + ".Peer"

	// joinTime limits how long joining the bus takes, questionTime how long each
	// question to the bus takes.
	joinTime     = 5 * time.Second
	questionTime = 2 * time.Second
	// pause is the least time between two signals about changed properties. Changes in
	// quick succession are told once.
	pause = 50 * time.Millisecond
	// forbiddenRetry is the time after which the Server asks for the name again if the
	// bus has refused it. Somebody may install a configuration that grants it
	// meanwhile.
	forbiddenRetry = time.Minute
)

// Options of a Server.
type Options struct {
	Bus     string       // path of the bus's socket
	Manager *mam.Manager // whose Views are shown
	Version string
	Log     *slog.Logger // nil: nothing is logged
}

// Server serves the name. It is safe for concurrent use.
type Server struct {
	opts   Options
	types  systembus.Types
	poked  chan struct{} // one slot; filled when there is a new View
	shown  atomic.Pointer[mam.View]
	logged sync.Once // a refusal of the name was logged
}

// New returns a Server. It does nothing before Run is called.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{opts: o, poked: make(chan struct{}, 1)}
}

// Published tells the Server that the Manager has a new View. It does not block.
func (s *Server) Published(v *mam.View) {
	if before := s.shown.Load(); before != nil && same(before, v) {
		return
	}
	s.shown.Store(v)
	select {
	case s.poked <- struct{}{}:
	default:
	}
}

func same(v, o *mam.View) bool {
	return v.AvoidMetered == o.AvoidMetered && control.SameNetworks(v, o)
}

// Run serves until ctx ends. If the connection to the bus is lost, Run connects again.
// The error is always nil.
func (s *Server) Run(ctx context.Context) error {
	systembus.Keep(ctx, s.opts.Log, "the networks are not shown on the system bus", s.session)
	return nil
}

// session serves until the connection to the bus ends.
func (s *Server) session(ctx context.Context) error {
	q := newQueue()
	conn, err := s.join(ctx, q)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if granted, err := s.own(ctx, conn); !granted {
		return err
	}
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error {
		select {
		case <-conn.Context().Done():
			return errors.New("the bus has closed the connection")
		case <-inner.Done():
			return nil
		}
	})
	g.Go(func() error { return q.serve(inner, func(c call) { s.answer(inner, conn, c) }) })
	g.Go(func() error { return s.announce(inner, conn) })
	return g.Wait()
}

// join connects to the bus. Calls go into the queue; those for which the queue has no
// room are refused at once.
func (s *Server) join(ctx context.Context, q *queue) (*dbus.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	conn := make(chan *dbus.Conn, 1)
	c, err := systembus.Dial(ctx, s.opts.Bus, systembus.Options{
		Types:   &s.types,
		Admit:   admit,
		Signals: nothing{},
		Call: func(h systembus.Header, raw []byte) {
			if h.Sender == "" || q.add(call{h, raw}) {
				return
			}
			select {
			case c := <-conn:
				reply(c, h, nil, failure("org.freedesktop.DBus.Error.LimitsExceeded", "too many calls are waiting"))
				conn <- c
			default: // join has not got the connection yet
			}
		},
	})
	if err == nil {
		conn <- c
	}
	return c, err
}

// admit tells whether to decode a message that is no call: only the bus tells the Server
// anything.
func admit(h systembus.Header) bool {
	return h.Sender == busName || h.Sender == "" && h.Kind != dbus.TypeSignal // answers to Hello
}

// nothing ignores signals. Only those of the bus itself arrive, which tell that a name
// was acquired or lost.
type nothing struct{}

func (nothing) DeliverSignal(string, string, *dbus.Signal) {}

// own asks for the name. If another process has the name, the bus hands it to us when
// that process ends.
func (s *Server) own(ctx context.Context, conn *dbus.Conn) (granted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	var answer uint32
	err = conn.BusObject().CallWithContext(ctx, busName+".RequestName", 0, Name, uint32(0)).Store(&answer)
	cancel()
	if e := (dbus.Error{}); errors.As(err, &e) && e.Name == busName+".Error.AccessDenied" {
		s.logged.Do(func() {
			s.opts.Log.Info("the networks are not shown on the system bus, whose policy does not let this user have the name", "name", Name)
		})
		select {
		case <-ctx.Done():
		case <-conn.Context().Done():
		case <-time.After(forbiddenRetry):
		}
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask for the name %s: %w", Name, err)
	}
	if dbus.RequestNameReply(answer) == dbus.RequestNameReplyInQueue {
		s.opts.Log.Info("another process shows its networks on the system bus", "name", Name)
	}
	return true, nil
}

// announce sends a signal when properties have changed.
func (s *Server) announce(ctx context.Context, conn *dbus.Conn) error {
	last := s.shown.Load()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.poked:
		}
		now := s.shown.Load()
		if changed := s.changes(last, now); len(changed) > 0 {
			if err := conn.Emit(Path, properties+".PropertiesChanged", Interface, changed, []string{}); err != nil {
				return fmt.Errorf("tell of changed networks: %w", err)
			}
			last = now
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}
