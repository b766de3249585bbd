// Package mptcp speaks to the Multipath TCP (RFC 8684) of the Linux kernel. It covers
// three parts: the generic netlink family mptcp_pm, which instructs path managers and
// reports events; mptcp_diag, which lists connections and subflows; and the sysctls and
// counters of MPTCP (include/uapi/linux/mptcp.h, mptcp_pm.h, and
// Documentation/networking/mptcp-sysctl.rst of the kernel).
//
// This package does not decide which subflows there should be: package pathmanager
// does.
//
// Everything works on the network namespace of the thread that opened it. Events, the
// figures of subflows and all changes need CAP_NET_ADMIN in that namespace. Other
// reading needs no privileges. If the kernel lacks a feature, because it is too old or
// built without it, the error wraps ErrUnsupported.
package mptcp
