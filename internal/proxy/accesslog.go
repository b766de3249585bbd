package proxy

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/internal/process/service"
	"github.com/socket-intents/mamma/socks"
)

// logAccess writes a line about a request that has ended.
func logAccess(log *slog.Logger, ss *socks.Session, err error) {
	if !log.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	r := ss.Request
	attrs := make([]slog.Attr, 0, 24)
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	attrs = append(attrs, slog.String("client", r.Client.String()))
	name, _ := splitUser(r.User)
	text("user", name)
	attrs = append(attrs, slog.String("protocol", r.Protocol.String()), slog.String("command", r.Command.String()))
	if r.Command != socks.CommandUDPAssociate {
		attrs = append(attrs, slog.String("dest", r.Dest.String()))
	}
	if d, ok := r.Data.(*details); ok {
		d.mu.Lock() // late lookups of an association may still change d
		defer d.mu.Unlock()
		text("process", d.who.String())
		if ss.Conn != nil {
			text("remote", remote(ss))
		}
		text("intents", d.choice.set.String())
		text("intents_from", d.choice.from)
		if m := d.choice.mistake; m != nil {
			text("intents_err", m.err.Error())
		}
		text("interface", d.device)
		if d.source.IsValid() {
			text("source", d.source.String())
		}
		text("multipath", d.multipath)
		text("reason", d.reason)
		if d.candidate > 0 {
			attrs = append(attrs, slog.Int("alternate", int(d.candidate)))
		}
		if !d.decided && d.err != nil {
			text("manager", d.err.Error())
		}
	}
	attrs = append(attrs, slog.String("reply", replyOf(ss, err).String()))
	if ss.SetUp > 0 {
		attrs = append(attrs, slog.Duration("setup", ss.SetUp.Round(time.Microsecond)),
			slog.Int64("sent", ss.Sent()), slog.Int64("received", ss.Received()))
	}
	if n := ss.Fragments(); n > 0 {
		attrs = append(attrs, slog.Int64("dropped_fragments", n))
	}
	attrs = append(attrs, slog.Duration("duration", time.Since(ss.Begun).Round(time.Microsecond)))
	if err != nil {
		text("err", err.Error())
	}
	log.LogAttrs(context.Background(), slog.LevelInfo, service.AccessMessage, attrs...)
}

// replyOf returns the reply that the client got. An error that breaks the connection
// later does not change it.
func replyOf(ss *socks.Session, err error) socks.Reply {
	if ss.SetUp > 0 {
		return socks.Succeeded
	}
	return socks.ReplyOf(err)
}

func remote(ss *socks.Session) string {
	if a, ok := ss.Conn.RemoteAddr().(interface{ AddrPort() netip.AddrPort }); ok {
		return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port()).String()
	}
	return ""
}
