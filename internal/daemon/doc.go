// Package daemon puts the rooms of the Multi Access Manager together: it turns
// a configuration, the host's networks, the measurements and a policy into
// mam.Views, and runs the tasks that keep them current.
//
// Every View is built whole and swapped in at once. A reload builds everything
// that can fail first, so that an error leaves the old state running.
//
// What the rooms do is their own business; flags and signals are cmd/mamma's.
package daemon
