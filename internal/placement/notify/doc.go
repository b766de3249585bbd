// Package notify offers the kernel's seccomp user notification (seccomp_unotify(2)). A
// thread gives up some system calls, its own and those of its children, to a listener
// that answers each of them.
//
// The package knows the kernel interface and nothing else. Calls says which calls are
// given up; the caller decides how to answer them. It is pure Go, so that static
// binaries can use it.
package notify
