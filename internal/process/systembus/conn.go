// Package systembus connects to the system bus (D-Bus) for a service that trusts nobody
// on the bus. It decodes only wanted messages, and none above a size limit. The content
// of the messages is up to the caller.
package systembus

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// Default is the path of the system bus's socket (D-Bus specification, "Well-known
// Message Bus Instances").
const Default = "/run/dbus/system_bus_socket"

// Path returns the path of the system bus's socket. That is the path in
// DBUS_SYSTEM_BUS_ADDRESS, if the variable names one, else Default.
func Path() string {
	for address := range strings.SplitSeq(os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"), ";") {
		rest, ok := strings.CutPrefix(address, "unix:")
		for option := range strings.SplitSeq(rest, ",") {
			if path, is := strings.CutPrefix(option, "path="); ok && is && !strings.Contains(path, "%") {
				return path
			}
		}
	}
	return Default
}

// Options say which messages are read. The goroutine that reads calls these functions,
// so they must not block.
type Options struct {
	// Admit tells whether to decode a message.
	Admit func(Header) bool
	// Types are the types that were decoded so far, which are bounded. Whoever connects
	// again uses the same ones, since their memory is not freed between. nil: none so far.
	Types *Types
	// Signals gets the admitted signals.
	Signals dbus.SignalHandler
	// Call, if set, gets the method calls, not decoded. The bytes are nil if the call
	// is too long. Without Call, a method call is treated like other messages.
	Call func(Header, []byte)
}

// Dial connects to the bus whose socket is at path, and says hello. It gives up when
// ctx ends.
func Dial(ctx context.Context, path string, o Options) (_ *dbus.Conn, err error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	}
	conn, err := dbus.NewConn(newFrames(c, o), dbus.WithSignalHandler(o.Signals), dbus.WithHandler(nobody{}))
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = conn.Close()
		}
	}()
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}); err != nil {
		return nil, fmt.Errorf("authenticate: %w", err)
	}
	if err := conn.Hello(); err != nil {
		return nil, fmt.Errorf("say hello: %w", err)
	}
	return conn, c.SetDeadline(time.Time{})
}

// nobody has no objects, so every call to an object is answered with an error.
type nobody struct{}

func (nobody) LookupObject(dbus.ObjectPath) (dbus.ServerObject, bool) { return nil, false }
