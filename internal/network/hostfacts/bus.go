package hostfacts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/socket-intents/mamma/internal/process/systembus"
)

const (
	busName = "org.freedesktop.DBus"
	busPath = "/org/freedesktop/DBus"

	// answerTime bounds connecting to the bus, and each question to a service. All of
	// them normally answer within milliseconds.
	answerTime = 5 * time.Second
)

// bus is a connection to the system bus. It follows the owners and the signals of some
// services. It is safe for concurrent use.
type bus struct {
	conn *dbus.Conn
	// changed is called for each signal of a service, always by the same goroutine.
	// service is the name on the bus. A nil signal means that the name has a new owner,
	// or none.
	changed func(service string, s *dbus.Signal)
	// curious tells whether a signal of a service would tell anything. It must not block.
	curious func(service string) bool
	limit   time.Duration // time for each question

	mu     sync.Mutex
	owners map[string]*owner // by the name on the bus
}

// owner is the process that has a name on the bus.
type owner struct {
	unique string // "": nobody
	told   bool   // known from a signal, which is newer than any answer that arrives later
}

// join connects to the bus at path and follows the services. Each question to a service
// has the time limit. types are those that were decoded before.
func join(ctx context.Context, path string, limit time.Duration, types *systembus.Types, services []string, changed func(string, *dbus.Signal), curious func(string) bool) (_ *bus, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	b := &bus{changed: changed, curious: curious, limit: limit, owners: map[string]*owner{}}
	for _, name := range services {
		b.owners[name] = &owner{}
	}
	if b.conn, err = systembus.Dial(ctx, path, systembus.Options{Admit: b.admit, Types: types, Signals: b}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = b.conn.Close()
		}
	}()
	for _, name := range services {
		if err := b.follow(ctx, name); err != nil {
			return nil, fmt.Errorf("follow %s: %w", name, err)
		}
	}
	return b, nil
}

// follow asks the bus for signals about a name's owner, and for the present owner.
func (b *bus) follow(ctx context.Context, name string) error {
	if err := b.match(ctx, "type='signal',sender='"+busName+"',path='"+busPath+"',interface='"+busName+"',member='NameOwnerChanged',arg0='"+name+"'"); err != nil {
		return err
	}
	var unique string
	err := b.call(ctx, busName, busPath, busName+".GetNameOwner", name).Store(&unique)
	if e := (dbus.Error{}); errors.As(err, &e) && e.Name == busName+".Error.NameHasNoOwner" {
		err, unique = nil, ""
	}
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if o := b.owners[name]; !o.told {
		o.unique = unique
	}
	return nil
}

// match asks the bus for the signals that match a rule.
func (b *bus) match(ctx context.Context, rule string) error {
	return b.call(ctx, busName, busPath, busName+".AddMatch", rule).Err
}

// call calls a method. It does not start the service if that is not running.
func (b *bus) call(ctx context.Context, to string, path dbus.ObjectPath, method string, args ...any) *dbus.Call {
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	return b.conn.Object(to, path).CallWithContext(ctx, method, dbus.FlagNoAutoStart, args...)
}

// owner returns the owner of a service's name, "" if there is none.
func (b *bus) owner(service string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.owners[service].unique
}

// getAll returns a function that reads the properties of objects of a process. It asks
// the process itself and not the name. If another process takes over the name
// meanwhile, that one is asked anew.
func (b *bus) getAll(to string) getAll {
	return func(ctx context.Context, path dbus.ObjectPath, iface string) (props, error) {
		return only[map[string]dbus.Variant](b.call(ctx, to, path, busName+".Properties.GetAll", iface))
	}
}

// hung tells whether a question had no answer. An answer of a service counts even if it
// is an error: an object that the service does not know is gone. A question without an
// answer says nothing, and must be asked again.
func hung(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, dbus.ErrClosed)
}

// only returns the only value of an answer, which must have the type T.
func only[T any](call *dbus.Call) (v T, err error) {
	if call.Err != nil {
		return v, call.Err
	}
	if len(call.Body) != 1 {
		return v, systembus.ErrFrame
	}
	v, ok := call.Body[0].(T)
	if !ok {
		return v, systembus.ErrFrame
	}
	return v, nil
}

// getManaged returns a function that reads all objects of a process.
func (b *bus) getManaged(to string) getManaged {
	return func(ctx context.Context, path dbus.ObjectPath) (map[dbus.ObjectPath]map[string]props, error) {
		list, err := only[map[dbus.ObjectPath]map[string]map[string]dbus.Variant](b.call(ctx, to, path, busName+".ObjectManager.GetManagedObjects"))
		if err != nil {
			return nil, err
		}
		out := map[dbus.ObjectPath]map[string]props{}
		for path, interfaces := range list {
			out[path] = map[string]props{}
			for name, p := range interfaces {
				out[path][name] = p
			}
		}
		return out, nil
	}
}

// admit lets two kinds of messages pass: those of the bus itself, and those of the
// owners of the names. It drops signals of a service that is about to be asked anyway,
// because decoding a flood of them would be work for nothing. It runs in the goroutine
// that calls DeliverSignal. So a new owner is known before its first message arrives.
func (b *bus) admit(h systembus.Header) bool {
	switch h.Kind {
	case dbus.TypeMethodReply, dbus.TypeError, dbus.TypeSignal:
	default: // method calls: this process offers nothing to call
		return false
	}
	if h.Sender == busName || h.Sender == "" && h.Kind != dbus.TypeSignal {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, o := range b.owners {
		if o.unique == h.Sender && h.Sender != "" && (h.Kind != dbus.TypeSignal || b.curious(name)) {
			return true
		}
	}
	// An answer may come from a former owner. Only signals are refused, because the bus
	// passes on only answers to questions that were asked.
	return h.Kind != dbus.TypeSignal
}

// DeliverSignal implements dbus.SignalHandler. It is called for one signal after
// another, and must not block.
func (b *bus) DeliverSignal(_, _ string, s *dbus.Signal) {
	if s.Sender == busName {
		if name, unique, ok := ownerChanged(s); ok {
			b.owned(name, unique)
		}
		return
	}
	b.mu.Lock()
	var from []string
	for name, o := range b.owners {
		if o.unique == s.Sender {
			from = append(from, name)
		}
	}
	b.mu.Unlock()
	for _, name := range from {
		b.changed(name, s)
	}
}

// ownerChanged reads a NameOwnerChanged signal.
func ownerChanged(s *dbus.Signal) (name, unique string, ok bool) {
	if s.Name != busName+".NameOwnerChanged" || s.Path != busPath || len(s.Body) != 3 {
		return "", "", false
	}
	name, isName := s.Body[0].(string)
	unique, isUnique := s.Body[2].(string)
	return name, unique, isName && isUnique
}

// owned notes the present owner of a name.
func (b *bus) owned(name, unique string) {
	b.mu.Lock()
	o := b.owners[name]
	if o != nil {
		o.unique, o.told = unique, true
	}
	b.mu.Unlock()
	if o != nil {
		b.changed(name, nil)
	}
}

// propertiesChanged tells whether a signal may mean that one of the wanted properties
// has changed. A PropertiesChanged signal does if it names one of them. Any other
// signal does.
func propertiesChanged(s *dbus.Signal, wanted map[string][]string) bool {
	if s.Name != busName+".Properties.PropertiesChanged" {
		return true
	}
	if len(s.Body) != 3 {
		return false
	}
	iface, _ := s.Body[0].(string)
	names := wanted[iface]
	changed, _ := s.Body[1].(map[string]dbus.Variant)
	invalidated, _ := s.Body[2].([]string)
	return slices.ContainsFunc(names, func(name string) bool {
		_, ok := changed[name]
		return ok || slices.Contains(invalidated, name)
	})
}
