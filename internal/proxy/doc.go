// Package proxy is the SOCKS and HTTP proxy muacsocksd. It finds out what is known
// about a client's connection, from rules, user names, headers, and what it has learnt
// about the destination. It then lets the Multi Access Manager choose a network, and
// dials over that.
//
// Package socks speaks the protocols between client and proxy. Program cmd/muacsocksd
// reads flags and takes signals.
package proxy
