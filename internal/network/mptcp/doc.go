// Package mptcp speaks to the Multipath TCP (RFC 8684) of the Linux kernel: the
// generic netlink family mptcp_pm, which instructs path managers and reports
// events; mptcp_diag, which lists connections and subflows; and the sysctls and counters that belong to it (include/uapi/linux/mptcp.h,
// mptcp_pm.h, and Documentation/networking/mptcp-sysctl.rst of the kernel).
//
// What subflows there should be is not decided here: see package pathmanager.
//
// Everything works on the network namespace of the thread that opened it.
// Reading needs no privileges but for events and the figures of subflows;
// those, and all changes, need CAP_NET_ADMIN in the namespace. What the kernel
// is too old for, or was built without, is an error that wraps ErrUnsupported.
package mptcp
