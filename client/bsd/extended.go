package bsd

import (
	"context"
	"net"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
)

// Getaddrinfo is the extended getaddrinfo. It asks the manager for a decision on a
// connection to host, and resolves the name on the chosen network. The results say how
// to make their sockets. They come in three groups: first the best choice, then the
// other networks that the manager has named, last the addresses without a suggestion.
// Without the manager there is only the last group.
//
// The dialer gives the way to the manager, the resolver, the time limits, and the
// intents if hints has none. A nil dialer stands for the zero Dialer. An empty service
// is port 0. If host is empty, or if the manager does not decide, the host's own resolver
// gives the results. The socket type is SockStream unless hints says SockDgram.
func Getaddrinfo(ctx context.Context, dialer *client.Dialer, host, service string, hints *Hints) ([]AddrInfo, error) {
	h := Hints{}
	if hints != nil {
		h = *hints
	}
	if h.Type == 0 {
		h.Type = SockStream
	}
	if host == "" {
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true} // EAI_NONAME
	}
	narrowed, err := h.configured(host)
	if err != nil {
		return nil, err
	}
	h = *narrowed
	network, ok := h.network()
	if !ok || h.Flags&(AIPassive|AICanonName|AINumericHost|AINumericServ) != 0 {
		if dialer != nil {
			ctx = client.WithSelection(ctx, client.Selection(ctx).Merge(dialer.Selection))
		}
		if err := unrestricted(ctx); err != nil {
			return nil, err
		}
		return h.lookup(ctx, host, service)
	}
	if service == "" {
		service = "0"
	}
	if dialer == nil {
		dialer = new(client.Dialer)
		defer func() { _ = dialer.Close() }() // always nil
	}
	ctx = intent.NewContext(ctx, h.Intents.Merge(intent.FromContext(ctx)))
	decision, err := dialer.Decide(ctx, network, net.JoinHostPort(host, service))
	if err != nil {
		return nil, err
	}
	endpoints, err := decision.Endpoints(ctx)
	if err != nil {
		return nil, err
	}
	var list []AddrInfo
	for _, e := range endpoints {
		list = append(list, AddrInfo{
			Flags: h.Flags, Family: familyOf(e.Remote.Addr()), Type: h.Type, Protocol: h.protocol(h.Type, e.Multipath),
			Addr: e.Remote, Bind: e.Source, Options: e.Options,
		})
	}
	return list, nil
}

// network returns the name that package net has for the hints' type and family, if
// there is one.
func (h *Hints) network() (string, bool) {
	name := map[int]string{SockStream: "tcp", SockDgram: "udp"}[h.Type]
	suffix, ok := map[int]string{AFUnspec: "", AFInet: "4", AFInet6: "6"}[h.Family]
	return name + suffix, ok && name != ""
}
