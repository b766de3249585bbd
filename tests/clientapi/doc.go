// Package clientapi tests each way of using intents as a program uses it: against
// the real daemon, on a host with two networks, and without it.
package clientapi
