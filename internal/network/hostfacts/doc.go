// Package hostfacts knows what other services of the host say of its networks over
// the system bus (D-Bus): NetworkManager, ModemManager and systemd-resolved. Each of
// them may be absent, come, go and come back. What its facts mean for a decision is left
// to the caller.
//
// A Watcher asks each service when it appears and whenever a signal hints that something
// has changed; signals are never believed by themselves. Answers are read into exact
// types with bounds on each text and list: a field that does not look as its interface
// says is unknown. Messages of anybody else on the bus, and those that are too large, are
// thrown away before they are decoded.
package hostfacts
