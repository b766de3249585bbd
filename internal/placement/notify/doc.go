// Package notify is the kernel's seccomp user notification (seccomp_unotify(2)):
// a thread gives up some of its system calls, and its children's, to a listener
// that answers each of them.
//
// It knows the kernel interface and nothing else. Which calls are meant is what
// Calls says; what to do about one is the caller's. It is in pure Go, so that a
// static binary has it.
package notify
