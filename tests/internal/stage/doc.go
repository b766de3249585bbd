// Package stage puts the real programs to work in a test bed, for the demo and
// the evaluation: it builds and starts daemons, and runs the client library in
// an Actor, a second process of the same program inside the client's namespace.
//
// The callers decide what is performed and what is measured.
package stage
