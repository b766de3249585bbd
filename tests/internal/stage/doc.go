// Package stage puts the real programs to work in a test bed, for the demo and
// the evaluation: it builds and starts daemons, and runs the client library in
// an Actor, a second process of the same program inside the client's namespace.
//
// What is performed, and what is measured of it, is the caller's own.
package stage
