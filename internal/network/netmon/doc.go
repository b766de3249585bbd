// Package netmon knows the host's links, addresses, routes and rules. It reads them by
// rtnetlink(7), and keeps the knowledge current.
//
// A Snapshot is the state at one moment, grouped into prefixes as
// doc/original/daemon.md 10 says. It never changes. A Monitor publishes a new Snapshot
// whenever the kernel reports a change. Snapshots are made from a State, which tests
// may make up.
//
// The package only reads, and needs no privileges. It leaves measurements,
// configuration and choices to others.
package netmon
