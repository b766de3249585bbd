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
//	GET  /v1/scopes                     Scopes
//	GET  /v1/history?since=N            History: ten minutes, or the samples numbered above since
//	GET  /v1/decisions?since=N&limit=N  Decisions: those numbered above since; by default, the latest
//	GET  /v1/events?since=N             a stream of Event, one JSON object per line, until the client leaves;
//	                                    with the decisions numbered above since; without any by decisions=no
//	POST /v1/explain                    Question -> Explanation, without side effects
//	POST /v1/set                        Setting -> Policy, hands a text to the policy
//	POST /v1/forget                     Forgetting -> Forgotten, drops what was measured
//	POST /v1/reload                     no body -> Policy, reads the configuration again
//	POST /v1/scopes/detach              no body -> Scopes, places nothing for scopes until the next reload
//	GET  /metrics                       Prometheus text format
//
// Decisions and events take the parameters of a Filter besides: program, network, and
// after, a time. Events are then those about the decisions that match.
//
// An unknown value is null. Times are RFC 3339 with up to nine decimals.
// Durations and ages are numbers of milliseconds, in fields that end in _ms;
// rates are bytes per second, sizes bytes, ratios 0 to 1. Lists may be empty but
// are never null. An answer other than 200 is a Failure.
//
// # Who may do what
//
// The mode of the socket decides who may connect. Root, the user that the daemon
// runs as, and members of Options.Group see all decisions, and the scopes. Other
// peers see only the decisions on requests of their own user. Only root and the daemon's
// user may set, reload and detach.
//
// The kernel says which user, group and supplementary groups a peer has; it noted
// them when the peer connected (SO_PEERCRED, SO_PEERGROUPS). /proc is not asked,
// because the peer's process id may belong to another process by now. The user
// database is not asked, because it has the groups that a user could have, not
// those that the process has. As a consequence a connection keeps the rights that
// its opener had, even after it was passed to another process. Kernels before 4.13
// name the primary group only.
//
// Clients check the server in turn: one that was not given a path believes a server
// only if the server runs as root, as the client's own user or as the service's
// user (see Find).
//
// # Explaining policies that count
//
// /v1/explain makes an instance of the policy for each question and asks that. The
// instance in use therefore notices nothing. A policy that keeps counters (whose
// turn is next, what was sent where) answers as if it had just been started. Names
// are not resolved: where the address would exclude prefixes, the real decision may
// differ.
package control
