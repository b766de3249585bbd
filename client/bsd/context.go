package bsd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

// SolIntents is the level of the socket options that are intents. The headers of the
// Socket Intents prototype call it SOL_INTENTS. The names of these options are the
// numbers 1 to 7 of package intent, and a value has 4 bytes in the host's byte order.
// Neither name nor value is checked.
const SolIntents = 300

// maxOptions bounds the bytes of stored options; each option counts 40 bytes besides
// its value. With this bound a message (16 kB) still has room for everything else.
const maxOptions = 8 << 10

// Context is what is known about one flow. The zero value is ready to use. With a nil
// *Context each call is the plain system call. A Context is safe for concurrent use. To
// copy one, use Clone.
type Context struct {
	// Daemon is the way to the manager. If it is nil, the Context has its own Daemon,
	// whose connection is closed with the last Release or Close. Programs with many
	// flows should share one Daemon, so that all flows share its connections and its
	// back-off.
	Daemon *client.Daemon

	mu    sync.Mutex
	own   *client.Daemon
	users int // 0: nothing is stored
	state wire.Context
	wide  []wire.WideIntent
}

// use locks c and gives it a first user if it has none. The caller must unlock c.
func (c *Context) use() *wire.Context {
	c.mu.Lock()
	if c.users == 0 {
		c.users = 1
	}
	return &c.state
}

// requestLocked copies c into a message, so that the lock need not be held while the
// message is sent.
func (c *Context) requestLocked(a wire.Action) *wire.Message {
	return &wire.Message{Action: a, Context: c.state.Clone(), WideIntents: c.wide}
}

func (c *Context) daemonLocked() *client.Daemon {
	if c.Daemon != nil {
		return c.Daemon
	}
	if c.own == nil {
		c.own = new(client.Daemon)
	}
	return c.own
}

// Retain adds one user to c and returns the number of users. It returns -1 if c is nil
// or has never been used. The first call on a Context makes its first user.
func (c *Context) Retain() int {
	if c == nil {
		return -1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users == 0 {
		return -1
	}
	c.users++
	return c.users
}

// Release removes one user from c and returns the number of those left, or -1 if c is
// nil. When none is left, c forgets everything and closes its own connection to the
// manager. It can then be used again.
func (c *Context) Release() int {
	if c == nil {
		return -1
	}
	c.mu.Lock()
	if c.users > 0 {
		c.users--
	}
	left, own := c.users, c.own
	if left == 0 {
		c.own, c.state, c.wide = nil, wire.Context{}, nil
	}
	c.mu.Unlock()
	if left == 0 && own != nil {
		_ = own.Close() // always nil
	}
	return left
}

// Clone returns a copy of c that has one user. The copy shares nothing with c but
// Daemon. The clone of a nil or unused Context is unused.
func (c *Context) Clone() *Context {
	d := new(Context)
	if c == nil {
		return d
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d.Daemon = c.Daemon
	if c.users > 0 {
		d.users, d.state, d.wide = 1, c.state.Clone(), c.wide
	}
	return d
}

// SetIntents replaces all intents of c by s. Its only error is ENOBUFS, if there is no
// room.
func (c *Context) SetIntents(s intent.Set) error {
	st := c.use()
	defer c.mu.Unlock()
	m := wire.Message{Context: st.Clone()}
	m.SetIntents(s)
	if sizeOf(m.Context.OptionsCurrent) > maxOptions {
		return os.NewSyscallError("setsockopt", syscall.ENOBUFS)
	}
	st.OptionsCurrent, c.wide = m.Context.OptionsCurrent, m.WideIntents
	return nil
}

// Intents returns the intents of c as the manager reads them. Options whose value does
// not have 4 bytes are left out.
func (c *Context) Intents() intent.Set {
	if c == nil {
		return intent.Set{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requestLocked(0).Intents()
}

// store remembers an option. It replaces an earlier option of the same level and name
// (doc/original/client-and-socks.md defects 12 and 13).
func (c *Context) store(level, name int, value []byte, flags wire.SockOptFlags) error {
	st := c.use()
	defer c.mu.Unlock()
	o := wire.SockOpt{Level: int32(level), Name: int32(name), Value: bytes.Clone(value), Flags: flags}
	list := st.OptionsCurrent
	at := len(list)
	for i := range list {
		if list[i].Level == o.Level && list[i].Name == o.Name {
			at = i
		}
	}
	size := sizeOf(list) + 40 + len(value)
	if at < len(list) {
		size -= 40 + len(list[at].Value)
	}
	if size > maxOptions {
		return os.NewSyscallError("setsockopt", syscall.ENOBUFS)
	}
	if at == len(list) {
		list = append(list, o)
	} else {
		list[at] = o
	}
	st.OptionsCurrent = list
	if level == SolIntents {
		c.wide = wireWithout(c.wide, o.Name)
	}
	return nil
}

func wireWithout(list []wire.WideIntent, name int32) (rest []wire.WideIntent) {
	for _, w := range list {
		if int64(w.Option) != int64(name) {
			rest = append(rest, w)
		}
	}
	return rest
}

func sizeOf(list []wire.SockOpt) (n int) {
	for i := range list {
		n += 40 + len(list[i].Value)
	}
	return n
}

// stored copies the value of an option of level SolIntents into value.
func (c *Context) stored(name int, value []byte) (n int, err error) {
	st := c.use()
	defer c.mu.Unlock()
	for i := range st.OptionsCurrent {
		if o := &st.OptionsCurrent[i]; o.Level == SolIntents && int(o.Name) == name {
			return copy(value, o.Value), nil
		}
	}
	return 0, os.NewSyscallError("getsockopt", syscall.ENOPROTOOPT)
}

// Setsockopt sets a socket option. An option of level SolIntents is only stored: fd is
// then ignored and may be -1, and a nil value is EFAULT. An option of another level is
// given to the kernel. If the kernel accepts the option, it is stored as well, and the
// manager is told of it. Setting an option again replaces its value.
func (c *Context) Setsockopt(fd, level, name int, value []byte) error {
	if c == nil || level != SolIntents {
		if err := setsockopt(fd, level, name, value); err != nil || c == nil {
			return err
		}
		err := c.store(level, name, value, wire.SockOptSet)
		if errors.Is(err, syscall.ENOBUFS) {
			return nil // no room to store it, but the socket has it, as the caller asked
		}
		return err
	}
	if value == nil {
		return os.NewSyscallError("setsockopt", syscall.EFAULT)
	}
	return c.store(level, name, value, 0)
}

// SetsockoptInt is Setsockopt for a value of 4 bytes.
func (c *Context) SetsockoptInt(fd, level, name int, value int32) error {
	return c.Setsockopt(fd, level, name, nativeInt(value))
}

// Getsockopt copies as much of a socket option's value as fits into value, and returns
// the number of bytes copied. Options of level SolIntents are read from c. For them the
// error is ENOPROTOOPT if the option was not set, and EFAULT if value is nil.
func (c *Context) Getsockopt(fd, level, name int, value []byte) (n int, err error) {
	switch {
	case c == nil || level != SolIntents:
		return getsockopt(fd, level, name, value)
	case value == nil:
		return 0, os.NewSyscallError("getsockopt", syscall.EFAULT)
	}
	return c.stored(name, value)
}

// String lists what c holds, one field a line.
func (c *Context) String() string {
	if c == nil {
		return "no context\n"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users == 0 {
		return "unused context\n"
	}
	s := &c.state
	var b strings.Builder
	line := func(name string, value any) { fmt.Fprintf(&b, "%-20s %v\n", name, value) }
	line("users", c.users)
	line("inode", s.Inode)
	line("calls", s.Calls)
	line("descriptor", s.FD)
	line("domain", s.Domain)
	line("type", s.Type)
	line("protocol", s.Protocol)
	line("bound", describeAddr(s.BindRequested))
	line("suggested", describeAddr(s.BindSuggested))
	line("host", s.Hostname)
	line("service", s.Service)
	line("hint", describe(s.Hint))
	line("result", describe(s.Result))
	line("remote", describeAddr(s.Remote))
	line("options", describeOptions(s.OptionsCurrent))
	line("suggested options", describeOptions(s.OptionsSuggested))
	return b.String()
}

func describeAddr(a wire.SockAddr) string {
	if !a.IsValid() {
		return "-"
	}
	return a.AddrPort.String()
}

func describe(list []wire.AddrInfo) string {
	var parts []string
	for _, a := range list {
		parts = append(parts, fmt.Sprintf("{%d %d %d %v}", a.Family, a.Type, a.Protocol, a.Addr.AddrPort))
	}
	return strings.Join(parts, " ")
}

func describeOptions(list []wire.SockOpt) string {
	var parts []string
	for _, o := range list {
		name := fmt.Sprintf("%d/%d", o.Level, o.Name)
		if o.Level == SolIntents {
			name = intent.Option(o.Name).String()
		}
		parts = append(parts, fmt.Sprintf("%s=%x", name, o.Value))
	}
	return strings.Join(parts, " ")
}
