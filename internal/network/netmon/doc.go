// Package netmon knows the host's links, addresses, routes and rules, from
// rtnetlink(7), and keeps that knowledge current.
//
// A Snapshot is the state at one moment, grouped into prefixes as
// doc/original/daemon.md 10 says, and never changes. A Monitor publishes a new one
// whenever the kernel reports a change. Snapshots are made from a State, which
// tests may make up.
//
// The package only reads, needs no privileges, and leaves measurements,
// configuration and choices to others.
package netmon
