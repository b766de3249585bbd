// Package plugin opens policies that were built as Go plugins.
//
// Opening a plugin runs its constructors inside the daemon, so everything that
// can be known beforehand is checked beforehand: that nobody but root and the
// daemon's user can have written the file (trust_linux.go), that it is a Go
// plugin, and that toolchain, build settings, shared modules and shared packages
// are the daemon's (compare.go). The errors say what to do.
//
// Package policy says what a policy is and what New must look like; package policies,
// which policies are compiled in.
package plugin
