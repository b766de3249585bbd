// Package rules tells, by the rules of a configuration, what is known of a connection that
// did not state it itself: its intents by destination, port, user and program. The
// proxy and mammactl run read the same blocks with it.
package rules
