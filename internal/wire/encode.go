package wire

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// Sizes of the parts (doc/original/wire-protocol.md sections 2 and 4).
const (
	headerSize     = 12
	inetSize       = 16  // struct sockaddr_in
	inet6Size      = 28  // struct sockaddr_in6
	addrInfoSize   = 48  // struct addrinfo
	sockOptSize    = 40  // struct socketopt
	fixedSize      = 128 // the seven TLVs that each context has
	alternateSize  = 12  // fixed part of an alternate
	outcomeSize    = 14  // without the flags, which older peers leave out
	wideSize       = 12  // one wide intent
	pathSize       = 8
	costSize       = 12
	originSize     = 10 // fixed part of an origin
	preferenceSize = 4  // fixed part of an entry of a selection
	// four counts; later peers may send more
	plainDialsSize = 16
	transferSize   = 32
	leaseSize      = 60 // without the networks
	generationSize = 12
	leaseUseSize   = 28

	maxDevice     = 15 // IFNAMSIZ less the NUL
	maxOriginText = 255
	// maxMembers is the number of members that fit into a request if their contexts
	// have only the TLVs that each context must have.
	maxMembers = MaxMessage / (headerSize + 4 + fixedSize)
)

var le = binary.LittleEndian

// Append appends the encoded message to dst and returns the extended slice. The TLVs
// have the order of doc/original/wire-protocol.md section 5. Sockets are written for
// two actions: for ActionSocketChooseRequest each with its context, and for
// ActionSocketChooseExisting only the first, without a context.
//
// The error is ErrTooLong if the message would exceed MaxMessage. It is an *Error if a
// value cannot be encoded, for instance a string with a NUL, or a device name that is too
// long. After an error Append returns dst unchanged.
func (m *Message) Append(dst []byte) ([]byte, error) {
	b, n, err := m.append(dst)
	if err == nil && (n.sockets < len(m.Sockets) && m.Action == ActionSocketChooseRequest || n.networks < len(m.Networks)) {
		err = ErrTooLong
	}
	if err != nil {
		return dst, err
	}
	return b, nil
}

// AppendFit is Append for long lists: it leaves out sockets and networks at the end of
// their lists if they do not fit, and returns how many.
func (m *Message) AppendFit(dst []byte) (b []byte, dropped int, err error) {
	b, n, err := m.append(dst)
	if err != nil {
		return dst, 0, err
	}
	if m.Action == ActionSocketChooseRequest {
		dropped = len(m.Sockets) - n.sockets
	}
	return b, dropped + len(m.Networks) - n.networks, nil
}

// fitting counts the parts of a message that were encoded.
type fitting struct{ sockets, networks int }

// append encodes m with as many networks and sockets as fit, and returns how many those
// were.
func (m *Message) append(dst []byte) (_ []byte, n fitting, _ error) {
	start := len(dst)
	e := encoder{b: dst}
	e.int32(TagAction, int32(m.Action))
	if m.Action == ActionSocketChooseExisting && len(m.Sockets) > 0 {
		e.int32(TagSocketFile, m.Sockets[0].FD)
	}
	e.context(&m.Context)
	e.extensions(m)
	for i := range m.Networks {
		mark := len(e.b)
		e.network(&m.Networks[i])
		if len(e.b)-start+headerSize > MaxMessage {
			e.b = e.b[:mark]
			break
		}
		n.networks++
	}
	if m.Action == ActionSocketChooseRequest {
		for i := range m.Sockets {
			mark := len(e.b)
			e.int32(TagSocketFile, m.Sockets[i].FD)
			e.context(&m.Sockets[i].Context)
			if len(e.b)-start+headerSize > MaxMessage || i == maxMembers {
				e.b = e.b[:mark]
				break
			}
			n.sockets++
		}
	}
	e.header(TagEOF, 0)
	if e.err != nil {
		return dst, n, e.err
	}
	if len(e.b)-start > MaxMessage {
		return dst, n, ErrTooLong
	}
	return e.b, n, nil
}

// encoder appends TLVs to b and keeps the first error.
type encoder struct {
	b   []byte
	err error
}

func (e *encoder) fail(t Tag, err error) {
	if e.err == nil {
		e.err = &Error{Tag: t, Err: err}
	}
}

func (e *encoder) header(t Tag, length int) {
	e.b = le.AppendUint32(e.b, uint32(t))
	e.b = le.AppendUint64(e.b, uint64(length))
}

// open writes the header of a TLV whose length is not known yet; close fills in the
// length.
func (e *encoder) open(t Tag) (mark int) {
	e.header(t, 0)
	return len(e.b)
}

func (e *encoder) close(mark int) {
	le.PutUint64(e.b[mark-8:], uint64(len(e.b)-mark))
}

func (e *encoder) int32(t Tag, v int32) {
	e.header(t, 4)
	e.b = le.AppendUint32(e.b, uint32(v))
}

func (e *encoder) context(c *Context) {
	e.header(TagContextID, len(c.ID))
	e.b = append(e.b, c.ID[:]...)
	e.header(TagInode, 8)
	e.b = le.AppendUint64(e.b, c.Inode)
	e.int32(TagFD, c.FD)
	e.int32(TagCalls, int32(c.Calls))
	e.int32(TagDomain, c.Domain)
	e.int32(TagType, c.Type)
	e.int32(TagProtocol, c.Protocol)
	e.sockAddr(TagBindRequested, c.BindRequested)
	e.sockAddr(TagBindSuggested, c.BindSuggested)
	e.sockAddr(TagRemote, c.Remote)
	e.name(TagHostname, c.Hostname, c.EmptyHostname)
	e.name(TagService, c.Service, c.EmptyService)
	e.addrInfos(TagHint, c.Hint)
	e.addrInfos(TagResult, c.Result)
	e.sockOpts(TagOptionsCurrent, c.OptionsCurrent)
	e.sockOpts(TagOptionsSuggested, c.OptionsSuggested)
}

// extensions writes the TLVs that the original protocol does not have. Readers accept
// them in any order. The order here is that of the recorded exchanges in testdata.
func (e *encoder) extensions(m *Message) {
	if m.Features != 0 {
		e.int32(TagFeatures, int32(m.Features))
	}
	e.wideIntents(m.WideIntents)
	e.flag(TagNoResolve, m.NoResolve)
	for i := range m.Alternates {
		e.alternate(&m.Alternates[i])
	}
	e.string(TagReason, m.Reason)
	if m.DecisionID != uuid.Nil {
		e.header(TagDecisionID, len(m.DecisionID))
		e.b = append(e.b, m.DecisionID[:]...)
	}
	if m.Outcome != nil {
		e.outcome(m.Outcome)
	}
	e.paths(m.Paths)
	e.costs(m.Costs)
	if m.Origin != nil {
		e.origin(m.Origin)
	}
	if p := m.PlainDials; p != nil {
		e.header(TagPlainDials, plainDialsSize)
		e.uint32s(p.Late, p.LeftAlone, p.Absent, p.Failed)
	}
	e.flag(TagRace, m.Race)
	if m.Transfer != nil {
		e.transfer(m.Transfer)
	}
	if m.Only != 0 {
		e.int32(TagOnly, int32(m.Only))
	}
	if len(m.Selection) > 0 {
		e.selection(m.Selection)
	}
	if m.Lease != nil {
		e.lease(m.Lease)
	}
	e.leased(m.Leased)
	if m.Watch != nil {
		e.watch(m.Watch)
	}
	if m.Flow != nil {
		e.flow(m.Flow)
	}
}

// flag writes a TLV without a value. Its presence says that the flag is set.
func (e *encoder) flag(t Tag, set bool) {
	if set {
		e.header(t, 0)
	}
}

func (e *encoder) uint32s(list ...uint32) {
	for _, n := range list {
		e.b = le.AppendUint32(e.b, n)
	}
}

func (e *encoder) wideIntents(list []WideIntent) {
	if len(list) == 0 {
		return
	}
	e.header(TagWideIntents, wideSize*len(list))
	for _, w := range list {
		e.b = le.AppendUint32(e.b, w.Option)
		e.b = le.AppendUint64(e.b, uint64(w.Value))
	}
}

func (e *encoder) outcome(o *Outcome) {
	e.header(TagOutcome, outcomeSize+2)
	e.uint32s(uint32(o.Candidate), o.Milliseconds, uint32(o.Errno))
	e.b = le.AppendUint16(e.b, o.LocalPort)
	e.b = le.AppendUint16(e.b, uint16(o.Flags))
}

func (e *encoder) paths(list []Path) {
	if len(list) == 0 {
		return
	}
	e.header(TagPaths, pathSize*len(list))
	for _, p := range list {
		e.uint32s(p.Microseconds, p.Health)
	}
}

func (e *encoder) costs(list []Cost) {
	if len(list) == 0 {
		return
	}
	e.header(TagCosts, costSize*len(list))
	for _, c := range list {
		e.b = le.AppendUint32(e.b, c.Cost)
		e.b = le.AppendUint64(e.b, c.Left)
	}
}

func (e *encoder) transfer(t *Transfer) {
	e.header(TagTransfer, transferSize)
	e.uint32s(uint32(t.Candidate), uint32(t.Flags))
	e.b = le.AppendUint64(e.b, t.Bytes)
	e.uint32s(t.Microseconds, t.Connect, t.RTT, t.MinRTT)
}

func (e *encoder) leased(list []LeaseUse) {
	if len(list) == 0 {
		return
	}
	e.header(TagLeased, leaseUseSize*len(list))
	for i := range list {
		u := &list[i]
		e.b = append(e.b, u.ID[:]...)
		e.uint32s(u.Uses, u.Connected, u.Milliseconds)
	}
}

func (e *encoder) selection(list []Preference) {
	if len(list) > MaxPreferences {
		e.fail(TagSelection, errSelection)
	}
	mark := e.open(TagSelection)
	for i := range list {
		p := &list[i]
		if len(p.Name) > MaxPreferenceName {
			e.fail(TagSelection, errSelection)
		}
		e.b = append(e.b, byte(p.Kind), byte(p.Want))
		e.b = le.AppendUint16(e.b, uint16(len(p.Name)))
		e.b = append(e.b, p.Name...)
	}
	e.close(mark)
}

func (e *encoder) lease(l *Lease) {
	e.header(TagLease, leaseSize+generationSize*len(l.Networks))
	e.b = le.AppendUint32(e.b, l.Milliseconds)
	e.b = le.AppendUint32(e.b, l.Uses)
	e.b = le.AppendUint64(e.b, l.Bytes)
	e.b = le.AppendUint32(e.b, uint32(l.Flags))
	e.b = le.AppendUint32(e.b, l.Ignored)
	for _, n := range []uint64{uint64(l.SizeFrom), uint64(l.SizeTo), l.View, l.Measurements} {
		e.b = le.AppendUint64(e.b, n)
	}
	e.b = le.AppendUint32(e.b, uint32(len(l.Networks)))
	for _, g := range l.Networks {
		e.b = le.AppendUint32(e.b, g.Index)
		e.b = le.AppendUint64(e.b, g.Value)
	}
}

func (e *encoder) origin(o *Origin) {
	if len(o.Command) > maxOriginText || len(o.Source) > maxOriginText {
		e.fail(TagOrigin, errOrigin)
	}
	mark := e.open(TagOrigin)
	e.b = le.AppendUint32(e.b, o.UID)
	e.b = le.AppendUint32(e.b, o.PID)
	e.b = le.AppendUint16(e.b, uint16(len(o.Command)))
	e.b = append(append(e.b, o.Command...), o.Source...)
	e.close(mark)
}

func (e *encoder) alternate(a *Alternate) {
	switch {
	case len(a.Device) > maxDevice:
		e.fail(TagAlternate, errDevice)
	case strings.IndexByte(a.Device, 0) >= 0:
		e.fail(TagAlternate, errNUL)
	case len(a.Remotes) > MaxMessage/inetSize:
		e.fail(TagAlternate, errRemotes)
	}
	mark := e.open(TagAlternate)
	e.b = le.AppendUint32(e.b, uint32(a.Protocol))
	e.b = le.AppendUint16(e.b, uint16(a.Local.size()))
	e.b = le.AppendUint16(e.b, uint16(len(a.Device)))
	e.b = le.AppendUint16(e.b, uint16(len(a.Remotes)))
	e.b = le.AppendUint16(e.b, 0)
	e.rawAddr(TagAlternate, a.Local)
	e.b = append(e.b, a.Device...)
	for _, r := range a.Remotes {
		if !r.IsValid() {
			e.fail(TagAlternate, errFamily)
		}
		e.rawAddr(TagAlternate, r)
	}
	e.close(mark)
}

// name writes a string that may be present and empty.
func (e *encoder) name(t Tag, s string, empty bool) {
	if s == "" && empty {
		e.header(t, 1)
		e.b = append(e.b, 0)
		return
	}
	e.string(t, s)
}

func (e *encoder) string(t Tag, s string) {
	if s == "" {
		return
	}
	if strings.IndexByte(s, 0) >= 0 {
		e.fail(t, errNUL)
	}
	e.header(t, len(s)+1)
	e.b = append(append(e.b, s...), 0)
}

// size returns the length of the C structure, 0 if there is no address.
func (a SockAddr) size() int {
	switch {
	case !a.IsValid():
		return 0
	case a.AddrPort.Addr().Is4():
		return inetSize
	}
	return inet6Size
}

func (e *encoder) sockAddr(t Tag, a SockAddr) {
	if a.IsValid() {
		e.header(t, a.size())
		e.rawAddr(t, a)
	}
}

// rawAddr writes the C structure. It writes nothing if there is no address.
func (e *encoder) rawAddr(t Tag, a SockAddr) {
	switch ip, port := a.AddrPort.Addr(), a.AddrPort.Port(); a.size() {
	case inetSize:
		b4 := ip.As4()
		e.b = le.AppendUint16(e.b, AFInet)
		e.b = binary.BigEndian.AppendUint16(e.b, port)
		e.b = append(e.b, b4[:]...)
		e.b = le.AppendUint64(e.b, 0)
	case inet6Size:
		var scope uint64
		if zone := ip.Zone(); zone != "" {
			var err error
			if scope, err = strconv.ParseUint(zone, 10, 32); err != nil {
				e.fail(t, errZone)
			}
		}
		b16 := ip.As16()
		e.b = le.AppendUint16(e.b, AFInet6)
		e.b = binary.BigEndian.AppendUint16(e.b, port)
		e.b = binary.BigEndian.AppendUint32(e.b, a.FlowInfo)
		e.b = append(e.b, b16[:]...)
		e.b = le.AppendUint32(e.b, uint32(scope))
	}
}

// pointer writes a pointer field. Readers see only whether it is zero.
func (e *encoder) pointer(present bool) {
	var p uint64
	if present {
		p = 1
	}
	e.b = le.AppendUint64(e.b, p)
}

func (e *encoder) addrInfos(t Tag, list []AddrInfo) {
	if len(list) == 0 {
		return
	}
	mark := e.open(t)
	for i := range list {
		a := &list[i]
		e.b = le.AppendUint32(e.b, uint32(a.Flags))
		e.b = le.AppendUint32(e.b, uint32(a.Family))
		e.b = le.AppendUint32(e.b, uint32(a.Type))
		e.b = le.AppendUint32(e.b, uint32(a.Protocol))
		e.b = le.AppendUint64(e.b, uint64(a.Addr.size())) // 8 bytes, with the padding
		e.pointer(a.Addr.IsValid())
		e.pointer(a.CanonName != "")
		e.pointer(i < len(list)-1)
		e.rawAddr(t, a.Addr)
		if a.CanonName != "" {
			if strings.IndexByte(a.CanonName, 0) >= 0 {
				e.fail(t, errNUL)
			}
			e.b = le.AppendUint64(e.b, uint64(len(a.CanonName)+1))
			e.b = append(append(e.b, a.CanonName...), 0)
		}
	}
	e.close(mark)
}

func (e *encoder) sockOpts(t Tag, list []SockOpt) {
	if len(list) == 0 {
		return
	}
	mark := e.open(t)
	for i := range list {
		o := &list[i]
		e.b = le.AppendUint32(e.b, uint32(o.Level))
		e.b = le.AppendUint32(e.b, uint32(o.Name))
		e.pointer(len(o.Value) > 0)
		e.b = le.AppendUint32(e.b, uint32(len(o.Value)))
		e.b = le.AppendUint32(e.b, uint32(o.ReturnValue))
		e.b = le.AppendUint64(e.b, uint64(uint32(o.Flags))) // 8 bytes, with the padding
		e.pointer(i < len(list)-1)
		e.b = append(e.b, o.Value...)
	}
	e.close(mark)
}
