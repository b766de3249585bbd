// Package pathmanager sees to it that MPTCP connections have the subflows that
// the policy wants (doc/original/daemon.md 14 is the original's way, on a kernel of its
// own).
//
// In mode Kernel the kernel opens subflows, on every connection of the host
// alike, and this package keeps an endpoint for each prefix that the policy
// wants used. In mode Userspace it opens them itself, asking the policy about
// each connection that this host opened; the kernel only tells what happens.
// Either way it takes away what is on networks that are gone, and leaves alone
// what others have set up.
package pathmanager
