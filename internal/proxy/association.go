package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/socks"
)

// silenceBorne is how long an association that has never heard anything keeps to the
// manager's choice. The manager may not know of a fault if nobody else uses the network.
// Four seconds are less than the 5 s after which a resolver's client asks for the second
// time (resolv.conf(5)). An association that was answered before does not wait so long
// (socks.WasAnswering).
const silenceBorne = 4 * time.Second

// listenPacket implements ListenPacket of a socks.Config: it opens the outgoing socket
// of an association, bound as the manager decides for the first destination. The server
// calls it again if the socket does not work.
func (o *outgoing) listenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	r := socks.RequestFrom(ctx)
	d := detailsOf(r)
	dest, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	seen := o.networks.number()
	ch := o.choose(r, d, socks.Addr{Host: dest.Addr().String(), Port: dest.Port()})
	dec, err := o.decide(ctx, r, d, ch, network, address)
	if err != nil {
		return nil, err
	}
	list, err := dec.Endpoints(ctx)
	if err != nil {
		return nil, replyable(err)
	}
	s := d.seats[dest.Addr().Is4()]
	if s == nil {
		s = &seat{}
		if d.seats == nil {
			d.seats = map[bool]*seat{}
		}
		d.seats[dest.Addr().Is4()] = s
	}
	if o.networks.lost(s.source) {
		s.choice = netip.Addr{} // the manager's choice counts again
	}
	i := 0
	if dec.Err() == nil { // without an answer, the manager's earlier choice stays for when it is back
		i = s.choose(list, socks.SilentSince(ctx), time.Now(), socks.WasAnswering(ctx))
	}
	source, device := list[i].Source, deviceOf(list[i])
	d.moving()
	candidate := list[i].Candidate
	d.noted(client.Info{Decided: dec.Err() == nil, Source: source, Device: device, Reason: dec.Reason(), Candidate: candidate})
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		if device == "" {
			return nil
		}
		var bindErr error
		if err := raw.Control(func(fd uintptr) { bindErr = unix.BindToDevice(int(fd), device) }); err != nil {
			return err
		}
		if errors.Is(bindErr, unix.EPERM) {
			return nil // binding the source address must suffice
		}
		return bindErr
	}}
	local := ":0"
	if source.IsValid() {
		local = netip.AddrPortFrom(source, 0).String()
	}
	pc, err := lc.ListenPacket(ctx, network, local)
	if err != nil {
		return nil, err
	}
	var heard func()
	if candidate > client.FirstChoice && source.IsValid() && !socks.SilentSince(ctx).IsZero() {
		// An answer on this network shows that the silence was the other network's fault.
		moved := time.Now()
		heard = sync.OnceFunc(func() { dec.ReportAnswered(candidate, time.Since(moved)) })
	}
	return o.networks.listen(pc.(*net.UDPConn), source, seen, heard), nil
}

// deviceOf returns the interface to bind a socket to, "" if there is none.
func deviceOf(e client.Endpoint) string {
	for _, o := range e.Options {
		if o.Level == unix.SOL_SOCKET && o.Name == unix.SO_BINDTODEVICE {
			return strings.TrimRight(string(o.Value), "\x00")
		}
	}
	return ""
}

// seat is the network that an association's socket of one family is bound to. The
// zero value means that no socket was opened yet.
type seat struct {
	choice netip.Addr // the manager's latest choice; invalid: none
	source netip.Addr // the address that the socket is bound to
	// tried are the networks that were tried since the silence began, without success.
	tried []netip.Addr
	since time.Time
	begun bool
}

// choose picks the endpoint for a new socket of an association. The association has
// heard nothing since a time, which is zero for its first socket. If the manager
// names another network than before, that network is taken at once. If the manager
// names the same one, the association stays there until silenceBorne is over, unless it
// was answered there before. Then it tries each other network once, until it hears
// something.
func (s *seat) choose(list []client.Endpoint, since, now time.Time, wasAnswering bool) (i int) {
	choice := list[0].Source
	silent := s.begun && choice == s.choice
	if !silent || !since.Equal(s.since) {
		s.tried = nil
	}
	if silent {
		i = max(0, slices.IndexFunc(list, func(e client.Endpoint) bool { return e.Source == s.source }))
		if !since.IsZero() && (wasAnswering || now.Sub(since) >= silenceBorne) {
			s.tried = append(s.tried, s.source)
			i = max(0, slices.IndexFunc(list, func(e client.Endpoint) bool {
				return e.Source.IsValid() && !slices.Contains(s.tried, e.Source)
			}))
		}
	}
	s.begun, s.choice, s.since, s.source = true, choice, since, list[i].Source
	return i
}
