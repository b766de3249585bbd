// Package proxy is the SOCKS and HTTP proxy muacsocksd: it finds out what is known
// about a client's connection (rules, user names, headers, what was learnt of the
// destination), has the Multi Access Manager choose a network, and dials there.
//
// Package socks speaks the protocols between client and proxy. Program cmd/muacsocksd
// reads flags and takes signals.
package proxy
