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

	// answerTime bounds joining the bus, and each question to a service. All of them answer
	// within milliseconds.
	answerTime = 5 * time.Second
)

// bus is a connection to the bus that follows some services. It is safe for concurrent
// use.
type bus struct {
	conn *dbus.Conn
	// changed is called by one goroutine with what a service, known by its name on the
	// bus, has signalled; a nil signal says that another owner has the name, or none.
	changed func(service string, s *dbus.Signal)
	limit   time.Duration // of each question

	mu     sync.Mutex
	owners map[string]*owner // by the name on the bus
}

// owner is who has a name.
type owner struct {
	unique string // "": nobody
	told   bool   // by a signal, which is newer than any answer that comes after it
}

// join connects to the bus at path to follow the services. Questions to them are given up
// after limit.
func join(ctx context.Context, path string, limit time.Duration, services []string, changed func(string, *dbus.Signal)) (_ *bus, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	b := &bus{changed: changed, limit: limit, owners: map[string]*owner{}}
	for _, name := range services {
		b.owners[name] = &owner{}
	}
	if b.conn, err = systembus.Dial(ctx, path, systembus.Options{Admit: b.admit, Signals: b}); err != nil {
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

// follow has the bus tell of a name's owner, and finds out who that is now.
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

// match has the bus send the signals that a rule is about.
func (b *bus) match(ctx context.Context, rule string) error {
	return b.call(ctx, busName, busPath, busName+".AddMatch", rule).Err
}

// call calls a method without starting who would answer it.
func (b *bus) call(ctx context.Context, to string, path dbus.ObjectPath, method string, args ...any) *dbus.Call {
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	return b.conn.Object(to, path).CallWithContext(ctx, method, dbus.FlagNoAutoStart, args...)
}

// owner is who has a service's name, "" for nobody.
func (b *bus) owner(service string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.owners[service].unique
}

// getAll reads the properties of objects of a process, which may have lost its name
// meanwhile: then it is gone, or its successor is asked anew.
func (b *bus) getAll(to string) getAll {
	return func(ctx context.Context, path dbus.ObjectPath, iface string) (props, error) {
		call := b.call(ctx, to, path, busName+".Properties.GetAll", iface)
		if call.Err != nil {
			return nil, call.Err
		}
		if len(call.Body) != 1 {
			return nil, systembus.ErrFrame
		}
		list, ok := call.Body[0].(map[string]dbus.Variant)
		if !ok {
			return nil, systembus.ErrFrame
		}
		return list, nil
	}
}

// getManaged reads all objects of a process.
func (b *bus) getManaged(to string) getManaged {
	return func(ctx context.Context, path dbus.ObjectPath) (map[dbus.ObjectPath]map[string]props, error) {
		call := b.call(ctx, to, path, busName+".ObjectManager.GetManagedObjects")
		if call.Err != nil {
			return nil, call.Err
		}
		if len(call.Body) != 1 {
			return nil, systembus.ErrFrame
		}
		list, ok := call.Body[0].(map[dbus.ObjectPath]map[string]map[string]dbus.Variant)
		if !ok {
			return nil, systembus.ErrFrame
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

// admit lets messages pass of the bus itself and of who has one of the names. It is called
// by the goroutine that DeliverSignal is called by, so that a new owner is known before his
// first message.
func (b *bus) admit(h systembus.Header) bool {
	switch h.Kind {
	case dbus.TypeMethodReply, dbus.TypeError, dbus.TypeSignal:
	default: // nobody has anything to ask of us
		return false
	}
	if h.Sender == busName || h.Sender == "" && h.Kind != dbus.TypeSignal {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range b.owners {
		if o.unique == h.Sender && h.Sender != "" {
			return true
		}
	}
	// Who had a name a moment ago may still answer; the bus passes on answers only that
	// were asked for.
	return h.Kind != dbus.TypeSignal
}

// DeliverSignal implements dbus.SignalHandler. It is called for each signal in turn, and
// must not block.
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

// owned notes who has a name now.
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

// propertiesChanged tells whether a signal says that one of the properties has changed, by
// interface; and any signal of another kind says so.
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
