// Package pathmanager gives MPTCP connections the subflows that the policy wants. (The
// original does the same on a kernel of its own, doc/original/daemon.md 14.)
//
// In mode Kernel the kernel opens subflows, in the same way for every connection of the
// host. This package then keeps an endpoint for each prefix that the policy wants to be
// used. In mode Userspace this package opens subflows itself. It asks the policy about
// each connection that this host opened, and the kernel only reports events. In both
// modes the package removes what belongs to networks that are gone, and leaves alone
// what other programs have set up.
package pathmanager
