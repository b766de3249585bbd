// Package hostfacts knows what other services of the host say about its networks. It
// asks NetworkManager, ModemManager, systemd-resolved and systemd-networkd over the
// system bus (D-Bus). Each of them may be absent, come, go and come back. The caller
// decides what the facts mean for a decision.
//
// A Watcher asks each service when the service appears, and whenever a signal hints at
// a change. Two things are believed from signals alone: from the bus, who owns a name, and
// from logind, that the host wakes. Answers are read into exact types, with bounds on each
// text and list; a field that differs from its specification counts as unknown. Two kinds
// of messages are dropped before they are decoded: those of anybody else on the bus, and
// those that are too large.
package hostfacts
