// Package socks is a proxy server that speaks SOCKS 5 (RFC 1928, RFC 1929),
// SOCKS 4 and 4a, HTTP CONNECT and plain HTTP on one port.
//
// A [Server] knows nothing about networks and policies. It connects with the dial
// function of its [Config]. The dial function calls [RequestFrom] to learn who
// asks, and which hints the client gave: the user name of SOCKS, or the header of an HTTP
// request.
// The [Rules] and the [Authenticator] of the Config decide whether a client may
// connect. The zero Config serves everybody who can reach the listener, so a Server
// with it should listen on loopback addresses only.
//
// The server handles these requests:
//
//   - CONNECT. Data is relayed both ways. Each direction ends on its own, and a reset
//     is passed on as a reset;
//   - UDP ASSOCIATE. Only the address that asked for it may use it. Fragments are dropped
//     (RFC 1928 section 7 permits that);
//   - BIND, if enabled;
//   - requests in absolute form (RFC 9112 section 3.2.2), which HTTP clients send to
//     a proxy. They are passed on as they were sent, without the fields that concern
//     one connection only.
//
// GSSAPI is not offered.
//
// Input may be hostile. Therefore messages are parsed as a stream, each phase has a
// time-out, an idle connection holds neither buffer nor goroutine, and the number of
// connections is limited, in total and per client.
package socks
