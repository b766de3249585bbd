// Package hostfile reads and writes descriptions of a host's network state. For bug
// reports, it describes a running host without what is private.
//
// A description is text with a statement per line, in the words of ip(8). Lines that
// begin with "#" are comments; the first of them is the title.
//
//	# A laptop on Wi-Fi and LTE
//	sysctl net.ipv4.nexthop_compat_mode = 0
//	link wlan0 altname wlp3s0
//	link tun0 kind tun
//	link wlan0.5 kind vlan link wlan0
//	addr 192.168.0.23/24 dev wlan0 valid_lft 3600 preferred_lft 3600
//	neigh fe80::9 dev wlan0 nud failed
//	nexthop id 1 via 192.168.0.1 dev wlan0
//	rule 5210 from all fwmark 0x80000/0xff0000 lookup main
//	rule6 100 from 2001:db8::/64 lookup 100
//	norule 32767
//	route default via 192.168.0.1 dev wlan0 metric 600 mtu 1300
//	route6 default via fe80::1 dev wlan0 proto ra metric 600 expires 1790
//	route6 2001:db8:7::/48 encap seg6 mode encap segs 2001:db8::9 dev wlan0
//
// rule6, norule6, route6 and nexthop6 are for IPv6. The kernel's three rules
// (priorities 0, 32766 and, for IPv4, 32767) exist unless norule removes one. Loopback,
// the table local and link-local groups need not be described, because the kernel makes
// them. A link is hardware unless it has a kind. It is up and has a carrier unless it
// says "down" or "nocarrier". A host has only the listed addresses, including
// link-local ones. They are in the order in which the kernel lists those of an
// interface, which for IPv6 is the newest first.
//
// A line "mark NUMBER" makes the packet filter set that mark on everything that the
// host sends. It cannot be found in a running host.
//
// A line "config TEXT" is a line of mamma's configuration. Its setting must name no
// file and no policy. Without such lines, the host has the automatic configuration.
// Further lines say what the host should do. The package only reads them; tests use
// them:
//
//	managed wlan0 192.168.0.0/24 default
//	connect 198.51.100.7 from 192.168.0.23 dev wlan0
//	connect 198.51.100.7 by wwan0 from 10.64.3.9 dev wwan0
//	connect 203.0.113.9 refused
//	unbound 198.51.100.7 from 192.168.0.23 dev wlan0
//	kernel 198.51.100.7 from 10.64.3.9 has dev wwan0 mtu 1300
//	doctor warning duplicate 192.168.8.0/24 on usb1
//
// The managed lines list all networks that mamma offers. A connect line has a
// destination, and the source and the device of the first packet to it; with "by", a
// policy chooses the network of that device. An unbound line is the same for a program
// that does not use mamma. The words after "has" in a kernel line must be in the
// kernel's own answer for that destination and source. "managed none" and "doctor none"
// say that there are none.
package hostfile
