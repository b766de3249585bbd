// Package control shows what the daemon sees and does, and changes what can be
// changed while it runs: HTTP with JSON on a Unix socket, plus Prometheus
// metrics.
//
// # Schema, version 1
//
// Paths begin with /v1. Within a version, fields are added but neither removed
// nor given another meaning; readers ignore what they do not know. The types
// of this package, from Status to Multipath, are the schema: each field's comment
// says what it means.
//
//	GET  /v1/status                     Status
//	GET  /v1/interfaces                 Interfaces
//	GET  /v1/prefixes                   Prefixes
//	GET  /v1/policy                     Policy
//	GET  /v1/mptcp                      Multipath
//	GET  /v1/decisions?since=N&limit=N  Decisions: those numbered above since; by default, the latest
//	GET  /v1/events?since=N             a stream of Event, one JSON object per line, until the client leaves
//	POST /v1/explain                    Question -> Explanation, without side effects
//	POST /v1/set                        Setting -> Policy, hands a text to the policy
//	POST /v1/reload                     no body -> Policy, reads the configuration again
//	GET  /metrics                       Prometheus text format
//
// What is unknown is null. Times are RFC 3339 with up to nine decimals.
// Durations and ages are numbers of milliseconds, in fields that end in _ms;
// rates are bytes per second, sizes bytes, ratios 0 to 1. Lists may be empty but
// are never null. An answer other than 200 is a Failure.
//
// # Who may do what
//
// Who may connect at all is decided by the socket's mode. Of those, root, the
// user that the daemon runs as, and members of the control group see all
// decisions; others see the decisions on requests of their own user only. Set
// and reload are for root and the daemon's user.
//
// User, group and supplementary groups are asked from the kernel, which noted
// them when the peer connected (SO_PEERCRED, SO_PEERGROUPS). They are not looked
// up in /proc, where the peer's process id may be another process's by now, nor
// in the user database, which tells what the user could have. The reverse of
// this: a connection keeps the rights that it was opened with, also when it is
// handed on. Kernels before 4.13 tell the primary group only.
//
// The other way round, a client that was not told the path believes a server only
// if that runs as root, as the client's own user or as the service's (see Find).
//
// # Explaining policies that count
//
// /v1/explain asks an instance of the policy made for that question. A policy
// that keeps counters (which prefix had the last turn, what was sent where) thus
// answers as if it had just been started, and the one in charge notices
// nothing. Names are not resolved: where the address would exclude prefixes,
// the real decision may differ.
package control
