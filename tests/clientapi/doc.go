// Package clientapi tests each way of using intents as a program uses it, on a host with
// two networks, with the real daemon and without a daemon.
package clientapi
