package wire

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/intent"
)

// LogValue returns the message for logs: a group with an attribute for each TLV, under
// the TLV's name. Zero and absent values are left out, but never the action. Texts are
// as the peer sent them. Log handlers quote what needs quotes.
func (m *Message) LogValue() slog.Value {
	attrs := append(make([]slog.Attr, 0, 16), slog.String(TagAction.String(), m.Action.String()))
	attrs = m.Context.attrs(attrs)
	for i := range m.Sockets {
		s := &m.Sockets[i]
		member := s.Context.attrs([]slog.Attr{slog.Int("fd", int(s.FD))})
		attrs = append(attrs, slog.Attr{Key: fmt.Sprintf("%v_%d", TagSocketFile, i), Value: slog.GroupValue(member...)})
	}
	add := func(tag Tag, there bool, v any) {
		if there {
			attrs = append(attrs, slog.Any(tag.String(), v))
		}
	}
	add(TagFeatures, m.Features != 0, m.Features.String())
	add(TagWideIntents, len(m.WideIntents) > 0, wideText(m.WideIntents))
	add(TagNoResolve, m.NoResolve, true)
	for i := range m.Alternates {
		a := &m.Alternates[i]
		attrs = append(attrs, slog.String(fmt.Sprintf("%v_%d", TagAlternate, i), a.text()))
	}
	add(TagReason, m.Reason != "", m.Reason)
	add(TagDecisionID, m.DecisionID != uuid.Nil, m.DecisionID.String())
	if o := m.Outcome; o != nil {
		add(TagOutcome, true, fmt.Sprintf("candidate %d, %d ms, errno %d, port %d, flags %#x", o.Candidate, o.Milliseconds, o.Errno, o.LocalPort, uint16(o.Flags)))
	}
	var paths []string
	for _, p := range m.Paths {
		paths = append(paths, fmt.Sprintf("%d us, health %d", p.Microseconds, p.Health))
	}
	add(TagPaths, len(paths) > 0, strings.Join(paths, "; "))
	var costs []string
	for _, c := range m.Costs {
		left := ""
		if c.Left != NoBudget {
			left = fmt.Sprintf(", %d bytes left", c.Left)
		}
		costs = append(costs, fmt.Sprintf("cost %d%s", c.Cost, left))
	}
	add(TagCosts, len(costs) > 0, strings.Join(costs, "; "))
	if o := m.Origin; o != nil {
		add(TagOrigin, true, fmt.Sprintf("user %d, process %d, command %q, source %q", int32(o.UID), o.PID, o.Command, o.Source))
	}
	if p := m.PlainDials; p != nil {
		add(TagPlainDials, true, fmt.Sprintf("%d late, %d left alone, %d absent, %d failed", p.Late, p.LeftAlone, p.Absent, p.Failed))
	}
	add(TagRace, m.Race, true)
	if t := m.Transfer; t != nil {
		add(TagTransfer, true, fmt.Sprintf("candidate %d, %d bytes in %d us, connect %d us, rtt %d us, least %d us, flags %#x",
			t.Candidate, t.Bytes, t.Microseconds, t.Connect, t.RTT, t.MinRTT, uint32(t.Flags)))
	}
	add(TagOnly, m.Only != 0, m.Only.String())
	add(TagSelection, len(m.Selection) > 0, selectionText(m.Selection))
	if l := m.Lease; l != nil {
		add(TagLease, true, l.text())
	}
	for i := range m.Leased {
		u := &m.Leased[i]
		attrs = append(attrs, slog.String(fmt.Sprintf("%v_%d", TagLeased, i), fmt.Sprintf("%v: %d uses, %d connected, latest in %d ms", u.ID, u.Uses, u.Connected, u.Milliseconds)))
	}
	if w := m.Watch; w != nil {
		add(TagWatch, true, w.text())
	}
	if f := m.Flow; f != nil {
		add(TagFlow, true, f.text())
	}
	for i := range m.Networks {
		attrs = append(attrs, slog.String(fmt.Sprintf("%v_%d", TagNetwork, i), m.Networks[i].text()))
	}
	return slog.GroupValue(attrs...)
}

// attrs appends the TLVs of a context.
func (c *Context) attrs(attrs []slog.Attr) []slog.Attr {
	add := func(tag Tag, there bool, v any) {
		if there {
			attrs = append(attrs, slog.Any(tag.String(), v))
		}
	}
	add(TagContextID, c.ID != uuid.Nil, c.ID.String())
	add(TagInode, c.Inode != 0, c.Inode)
	add(TagFD, c.FD != 0, c.FD)
	add(TagCalls, c.Calls != 0, c.Calls.String())
	add(TagDomain, c.Domain != 0, c.Domain)
	add(TagType, c.Type != 0, c.Type)
	add(TagProtocol, c.Protocol != 0, c.Protocol)
	add(TagBindRequested, c.BindRequested.IsValid(), c.BindRequested.AddrPort.String())
	add(TagBindSuggested, c.BindSuggested.IsValid(), c.BindSuggested.AddrPort.String())
	add(TagRemote, c.Remote.IsValid(), c.Remote.AddrPort.String())
	add(TagHostname, c.Hostname != "", c.Hostname)
	add(TagService, c.Service != "", c.Service)
	add(TagHint, len(c.Hint) > 0, addrInfosText(c.Hint))
	add(TagResult, len(c.Result) > 0, addrInfosText(c.Result))
	add(TagOptionsCurrent, len(c.OptionsCurrent) > 0, optionsText(c.OptionsCurrent))
	add(TagOptionsSuggested, len(c.OptionsSuggested) > 0, optionsText(c.OptionsSuggested))
	return attrs
}

func addrInfosText(list []AddrInfo) string {
	var parts []string
	for i := range list {
		a := &list[i]
		s := fmt.Sprintf("family %d type %d protocol %d", a.Family, a.Type, a.Protocol)
		if a.Flags != 0 {
			s += fmt.Sprintf(" flags %#x", uint32(a.Flags))
		}
		if a.Addr.IsValid() {
			s += " " + a.Addr.AddrPort.String()
		}
		if a.CanonName != "" {
			s += fmt.Sprintf(" name %q", a.CanonName)
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, "; ")
}

// optionsText lists intents by name and value, and other options by number and bytes.
func optionsText(list []SockOpt) string {
	var parts []string
	for i := range list {
		o := &list[i]
		s := fmt.Sprintf("level %d option %d %s", o.Level, o.Name, hex.EncodeToString(o.Value))
		if o.Level == intent.Level && len(o.Value) == 4 {
			s = fmt.Sprintf("intent %v %d", intent.Option(o.Name), int32(le.Uint32(o.Value)))
		}
		if o.Flags != 0 {
			s += fmt.Sprintf(" flags %#x", uint32(o.Flags))
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, "; ")
}

func selectionText(list []Preference) string {
	parts := make([]string, len(list))
	for i := range list {
		parts[i] = fmt.Sprintf("%v %v %q", list[i].Want, list[i].Kind, list[i].Name)
	}
	return strings.Join(parts, "; ")
}

func wideText(list []WideIntent) string {
	var parts []string
	for _, w := range list {
		parts = append(parts, fmt.Sprintf("intent %v %d", intent.Option(int32(w.Option)), w.Value)) //nolint:gosec // a number for people
	}
	return strings.Join(parts, "; ")
}

func (l *Lease) text() string {
	s := fmt.Sprintf("%d ms, %d uses, %d bytes, flags %#x, ignored intents %#x", l.Milliseconds, l.Uses, l.Bytes, uint32(l.Flags), l.Ignored)
	if l.SizeFrom != 0 || l.SizeTo != 0 {
		s += fmt.Sprintf(", sizes %d to %d", l.SizeFrom, l.SizeTo)
	}
	s += fmt.Sprintf(", view %d, measurements %d", l.View, l.Measurements)
	for _, g := range l.Networks {
		s += fmt.Sprintf(", network %d at %d", g.Index, g.Value)
	}
	return s
}

func (a *Alternate) text() string {
	s := fmt.Sprintf("protocol %d", a.Protocol)
	if a.Local.IsValid() {
		s += " from " + a.Local.AddrPort.String()
	}
	if a.Device != "" {
		s += fmt.Sprintf(" device %q", a.Device)
	}
	for _, r := range a.Remotes {
		s += " to " + r.AddrPort.String()
	}
	return s
}
