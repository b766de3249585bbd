// Package original speaks to the kernel that the Socket Intents prototype was made for:
// the generic netlink family MAM_MPTCP of an out-of-tree MPTCP (doc/original/daemon.md
// 14). That kernel asks about each subflow that could be opened, and opens the accepted
// ones.
//
// The mainline kernel has no such family. Use package mptcp there.
package original
