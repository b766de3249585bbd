// Package original speaks to the kernel that the original system was made for:
// the generic netlink family MAM_MPTCP of an out-of-tree MPTCP (doc/original/daemon.md
// 14). That kernel asks about each subflow that could be opened, and opens those
// that are accepted.
//
// Mainline Linux has no such family; there, package mptcp is what works.
package original
