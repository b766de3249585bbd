package busname

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/process/systembus"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// method is a method that can be called. A call with another signature is never
// decoded.
type method struct {
	signature string
	answer    func(s *Server, ctx context.Context, conn *dbus.Conn, c *call, args []any) ([]any, error)
}

// methods are the methods of the object, by interface and name.
var methods = map[[2]string]method{
	{Interface, "Explain"}:  {"ssa{ss}", (*Server).explain},
	{properties, "Get"}:     {"ss", (*Server).get},
	{properties, "GetAll"}:  {"s", (*Server).getAll},
	{properties, "Set"}:     {"ssv", nil}, // known only so that its error says why not
	{peerInterface, "Ping"}: {"", func(*Server, context.Context, *dbus.Conn, *call, []any) ([]any, error) { return nil, nil }},
	{introspection, "Introspect"}: {"", func(_ *Server, _ context.Context, _ *dbus.Conn, c *call, _ []any) ([]any, error) {
		return []any{describe(c.Path)}, nil
	}},
}

func failure(name, format string, args ...any) error {
	return &dbus.Error{Name: name, Body: []any{fmt.Sprintf(format, args...)}}
}

const errorPrefix = busName + ".Error."

func invalid(format string, args ...any) error {
	return failure(errorPrefix+"InvalidArgs", format, args...)
}

// answer answers a call.
func (s *Server) answer(ctx context.Context, conn *dbus.Conn, c call) {
	result, err := s.call(ctx, conn, &c)
	reply(conn, c.Header, result, err)
}

// call finds the method of a call and calls it.
func (s *Server) call(ctx context.Context, conn *dbus.Conn, c *call) ([]any, error) {
	iface := c.Interface
	if iface == "" { // callers may leave it out (D-Bus specification, "Message Types")
		for key := range methods {
			if key[1] == c.Member {
				iface = key[0]
			}
		}
	}
	m, ok := methods[[2]string{iface, c.Member}]
	switch {
	case describe(c.Path) == "" && iface != peerInterface:
		return nil, failure(errorPrefix+"UnknownObject", "there is no object %.100q; the one of mamma is %s", c.Path, Path)
	case !ok || c.Path != string(Path) && iface != introspection && iface != peerInterface:
		return nil, failure(errorPrefix+"UnknownMethod", "there is no method %.100q of interface %.100q", c.Member, c.Interface)
	case m.answer == nil:
		return nil, failure(errorPrefix+"PropertyReadOnly", "properties of mamma can only be read")
	case c.raw == nil:
		return nil, invalid("the call is too long")
	case c.Signature != m.signature:
		return nil, invalid("%s wants arguments of types %q", c.Member, m.signature)
	}
	var args []any
	if m.signature != "" {
		message, err := dbus.DecodeMessage(bytes.NewReader(c.raw))
		if err != nil {
			return nil, invalid("the arguments of %s cannot be read", c.Member)
		}
		args = message.Body
	}
	return m.answer(s, ctx, conn, c, args)
}

// reply sends a result or an error, unless the caller wants no reply.
func reply(conn *dbus.Conn, h systembus.Header, result []any, err error) {
	if h.NoReply {
		return
	}
	m := &dbus.Message{Type: dbus.TypeMethodReply, Flags: dbus.FlagNoReplyExpected, Body: result, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(h.Sender), dbus.FieldReplySerial: dbus.MakeVariant(h.Serial),
	}}
	if err != nil {
		e := &dbus.Error{Name: errorPrefix + "Failed", Body: []any{valid(err.Error())}}
		_ = errors.As(err, &e)
		m.Type, m.Body = dbus.TypeError, e.Body
		m.Headers[dbus.FieldErrorName] = dbus.MakeVariant(e.Name)
	}
	if len(m.Body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(m.Body...))
	}
	conn.Send(m, make(chan *dbus.Call, 1)) // if it cannot be sent, the connection ends
}

// texts returns the first two arguments, which must be strings. A missing one is "".
func texts(args []any) (a, b string) {
	if len(args) > 0 {
		a, _ = args[0].(string)
	}
	if len(args) > 1 {
		b, _ = args[1].(string)
	}
	return a, b
}

// ours tells whether iface is our interface. "" stands for any.
func ours(iface string) bool { return iface == Interface || iface == "" }

func (s *Server) get(_ context.Context, _ *dbus.Conn, _ *call, args []any) ([]any, error) {
	iface, name := texts(args)
	v, ok := s.properties(s.opts.Manager.View())[name]
	if !ours(iface) || !ok {
		return nil, failure(errorPrefix+"UnknownProperty", "there is no property %.100q of interface %.100q", name, iface)
	}
	return []any{v}, nil
}

func (s *Server) getAll(_ context.Context, _ *dbus.Conn, _ *call, args []any) ([]any, error) {
	if iface, _ := texts(args); !ours(iface) {
		return []any{props{}}, nil
	}
	return []any{s.properties(s.opts.Manager.View())}, nil
}

// explain answers what would be decided for the caller.
func (s *Server) explain(ctx context.Context, conn *dbus.Conn, c *call, args []any) ([]any, error) {
	q, err := question(args)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	var uid uint32
	if err := conn.BusObject().CallWithContext(ctx, busName+".GetConnectionUnixUser", 0, c.Sender).Store(&uid); err != nil {
		return nil, failure(errorPrefix+"AccessDenied", "the bus does not say whose call this is")
	}
	e, err := control.Explain(s.opts.Manager, q, policy.App{UID: uid}, s.opts.Manager.View().Time)
	var wrong *control.QuestionError
	switch {
	case errors.As(err, &wrong):
		return nil, invalid("%v", err)
	case errors.Is(err, mam.ErrBusy):
		return nil, failure(Name+".Error.Busy", "%v", err)
	case errors.Is(err, mam.ErrNoPolicy):
		return nil, failure(Name+".Error.NoPolicy", "%v", err)
	case err != nil:
		return nil, err
	}
	return []any{decision(&e)}, nil
}

// question makes a Question of the arguments, which are host, service, and options by
// name.
func question(args []any) (*control.Question, error) {
	host, service := texts(args)
	q := &control.Question{Host: host, Service: service}
	options, _ := args[2].(map[string]string)
	number := func(text string) (*int64, error) {
		n, err := strconv.ParseInt(text, 10, 64)
		return &n, err
	}
	for name, text := range options {
		var err error
		switch name {
		case "transport":
			q.Transport = text
		case "family":
			q.Family = text
		case "category":
			q.Intents.Category = &text
		case "burstiness":
			q.Intents.Burstiness = &text
		case "timeliness":
			q.Intents.Timeliness = &text
		case "resilience":
			q.Intents.Resilience = &text
		case "filesize":
			q.Intents.FileSize, err = number(text)
		case "duration":
			q.Intents.Duration, err = number(text)
		case "bitrate":
			q.Intents.Bitrate, err = number(text)
		default:
			return nil, invalid("there is no option %.100q; there are %s", name, strings.Join(optionNames, ", "))
		}
		if err != nil {
			return nil, invalid("%s must be a number, not %.100q", name, text)
		}
	}
	return q, nil
}

var optionNames = []string{"transport", "family", "category", "filesize", "duration", "bitrate", "burstiness", "timeliness", "resilience"}

// decision returns a decision in types of the bus. Unknown texts are empty.
func decision(e *control.Explanation) props {
	d := &e.Decision
	out := map[string]any{
		"Interface": "", "Prefix": "", "Address": "", "Name": "", "Device": orEmpty(e.Device), "Reason": d.Reason, "Policy": orEmpty(d.Policy),
		"Refused": d.Refused, "Only": d.Only, "Multipath": d.Multipath, "Fallback": orEmpty(d.Fallback), "Resolvers": []string{}, "ResolverDomain": "",
	}
	if c := d.Chosen; c != nil {
		out["Interface"], out["Prefix"], out["Address"], out["Name"] = c.Interface, c.Prefix, c.Address, orEmpty(c.Name)
	}
	alternates := [][]string{}
	for _, a := range d.Alternates {
		alternates = append(alternates, []string{a.Interface, a.Prefix, a.Address})
	}
	out["Alternates"] = alternates
	if r := e.Resolver; r != nil {
		out["Resolvers"], out["ResolverDomain"] = append([]string{}, r.Servers...), orEmpty(r.Domain)
	}
	return values(out)
}
