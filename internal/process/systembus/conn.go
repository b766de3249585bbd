// Package systembus connects to the system bus (D-Bus) as a service must that trusts
// nobody there: only messages that are wanted are decoded, and none of more than some
// size. What is said on the bus is left to the caller.
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

// Default is the socket of the system bus (D-Bus specification, "Well-known Message Bus
// Instances").
const Default = "/run/dbus/system_bus_socket"

// Path is the socket of the system bus: where DBUS_SYSTEM_BUS_ADDRESS says, if that is
// the path of a socket, else Default.
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

// Options say which messages are read. Its functions are called by the goroutine that
// reads, and must not block.
type Options struct {
	// Admit tells whether a message is to be decoded.
	Admit func(Header) bool
	// Signals takes those signals that are admitted.
	Signals dbus.SignalHandler
	// Call, if set, takes the calls of methods, as they came and not decoded; nil bytes:
	// too long. Without it calls are messages as others.
	Call func(Header, []byte)
}

// Dial connects to the bus whose socket is at path, and says hello, as long as ctx permits.
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

// nobody has no objects: what is asked of them is answered with an error.
type nobody struct{}

func (nobody) LookupObject(dbus.ObjectPath) (dbus.ServerObject, bool) { return nil, false }
