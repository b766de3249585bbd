// Package daemon connects the parts of the Multi Access Manager. It turns a
// configuration, the host's networks, the measurements and a policy into mam.Views, and
// runs the tasks that keep them current.
//
// Each View is built whole and then swapped in at once. A reload first builds
// everything that can fail, so that an error leaves the old state in use.
//
// How a part works is described in its own package. Flags and signals are handled in
// cmd/mamma.
package daemon
