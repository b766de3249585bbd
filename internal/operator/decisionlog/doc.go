// Package decisionlog keeps decisions in a file, together with all that the policy
// saw when it decided. People can look at the file, and another policy can be asked
// the same questions (package internal/operator/replay).
//
// The package imports the contract (package policy) and no policies.
//
// # The file
//
// JSON Lines: each line is an object with one member, which says what it is.
//
//	{"log": {"version": 1}}
//
// begins a part of the file that does not depend on the lines before it: prefixes
// are described again.
//
//	{"prefix": {"n": 0, "interface": "wlan0", "prefix": "192.0.2.0/24",
//	  "addrs": ["192.0.2.23"], "default": true, "stats": {...}, "link": {...}}}
//
// describes prefix n (0 to 1023) with its measurements as they are from here on.
// It stands before the first decision that refers to it, and again when anything
// has changed.
//
//	{"decision": {"policy": "threshold", "now": "2026-01-02T03:04:05.678Z",
//	  "kind": "socketconnect", "host": "www.example.net", "service": "443", "port": 443,
//	  "intents": {"category": 0, "filesize": 10000}, "prefixes": [0, 1],
//	  "app": {"uid": 1000, "pid": 4711, "command": "curl"},
//	  "answer": {"prefix": 0, "alternates": [1], "reason": "latency-dominated, lowest RTT",
//	    "scores": [{"prefix": 0, "predicted_ns": 39000000, "terms": [...]}, ...]}}}
//
// is one call of a policy: its request, with prefixes by number, and its answer.
// In an answer "socket" is an index into the request's sockets. The members are those
// of policy.Request, Decision and Prefix, which say what they mean; a member that
// is absent has its zero value. Durations (_ns) are in nanoseconds, rates in bytes
// per second, times as in RFC 3339. A number that is not finite is written as
// "NaN", "+Inf" or "-Inf". A text that is not UTF-8 is written as
// {"base64": "..."}.
//
//	{"transfer": {"policy": "adaptive", "token": 7, "prefix": 0, "kind": "socketconnect",
//	  "app": {"uid": 1000, "pid": 4711}, "host": "www.example.net", "port": 443,
//	  "bytes": 10000, "duration_ns": 41000000, "end": "2026-01-02T03:04:05.719Z"}}
//
// is a transfer that a client has reported after its end, or that was measured (with
// "measured": true), for policies that learn from these. The members are those of policy.Transfer. The token is that of the decision that
// the named policy made for it.
//
// Lines are at most MaxLine bytes long, those of prefixes 64 KiB.
//
// Prefixes stand on lines of their own to keep the file small. With four prefixes
// about which everything is known, a prefix takes 1.1 kB. A decision takes 1.4 kB
// where many are made on one snapshot, and 5.9 kB where each comes with a new
// snapshot. With prefixes inside each decision it would always be 5.9 kB. TestSize
// measures these figures.
package decisionlog
