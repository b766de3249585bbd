package client

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/socket-intents/mamma/internal/wire"
)

// Origin is on whose behalf a connection is made, where that is not the process
// that makes it: a proxy says it of its clients. The manager shows it beside the
// decision. It believes nothing of it, and it decides nothing.
type Origin struct {
	UID     uint32 // UnknownUID if it is not known; zero is root
	PID     uint32 // 0 if it is not known
	Command string // name of the process; "" if it is not known
	// Source tells people where the intents are from: "client", "learnt", "port
	// 443", or "rule" and its name; "" if that is not known. Both texts are cut
	// to 64 bytes.
	Source string
}

// UnknownUID stands for the user of an Origin that is not known.
const UnknownUID = 0xffffffff

type originKey struct{}

// WithOrigin returns a context that carries o for the connections that are
// dialled with it. It replaces what ctx carried.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// maxOrigin bounds the texts of an Origin; a command name of Linux has 15 bytes.
const maxOrigin = 64

// originOf returns what WithOrigin put into ctx as it travels, nil if nothing.
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
