package client

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/socket-intents/mamma/internal/wire"
)

// Origin says for whom a connection is made, if not for the process that makes it. A
// proxy, for instance, names its client. The manager shows the Origin beside the
// decision. The manager does not rely on the Origin, because anybody can claim
// anything.
type Origin struct {
	UID     uint32 // UnknownUID if it is not known; zero is root
	PID     uint32 // 0 if it is not known
	Command string // name of the process; "" if it is not known
	// Source tells people where the intents come from: "client", "learnt", "port 443",
	// or "rule" and its name; "" if that is not known. Command and Source are cut to 64
	// bytes.
	Source string
}

// UnknownUID stands for the user of an Origin that is not known.
const UnknownUID = 0xffffffff

type originKey struct{}

// WithOrigin returns a context that carries o for the connections that are dialled with
// it. The new Origin replaces one that ctx carried.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// maxOrigin is how many bytes of a text of an Origin are sent. Linux's names of commands
// have 15.
const maxOrigin = 64

// originOf returns the Origin of ctx in the form of the protocol, nil if there is none.
func originOf(ctx context.Context) *wire.Origin {
	o, ok := ctx.Value(originKey{}).(Origin)
	if !ok {
		return nil
	}
	return &wire.Origin{UID: o.UID, PID: o.PID, Command: cut(o.Command), Source: cut(o.Source)}
}

// cut shortens s to maxOrigin bytes, not within a character.
func cut(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxOrigin {
		return s
	}
	n := maxOrigin
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
