// Package hook places the connections of control groups. Programs in the kernel do the work:
// cgroup v2 BPF at connect(2), and at sendto(2) of sockets that are not connected.
//
// The programs cannot wait for anybody. So maps that are filled in beforehand say what they
// do:
//
//	SetGroup, SetMember  the scope of a control group, user and command
//	SetWholeGroup        the scope of a control group, where nothing else matters
//	SetRules             which of a scope's answers are for a connection, its variant
//	SetUsual             what is done with a scope's connections
//	SetAnswer            what is done with those to single destinations
//	SetAside             which destinations have routes of their own
//	SetDown              which networks are down, so that alternates count
//
// [Table.Read] tells what the programs have done.
//
// One more program measures TCP connections, of whatever scope or none, by sock_ops. The kernel
// calls it when there is something new, so nobody has to ask about connections on which nothing
// happens. [Table.Flows] tells what it has measured.
//
// Another one makes TCP sockets of some scopes into sockets of Multipath TCP, when they are made.
//
// A socket that already has a source or a device is left alone: its program knows where it
// goes, or somebody has placed it before. Connections to destinations on one link and sockets
// of other network namespaces are left alone, too. If nobody has called [Table.Hold] for a
// while, all sockets are left alone, except in strict scopes, where connections are refused
// then.
//
// The programs are assembled here, instruction by instruction, so that no compiler is needed.
// A comment beside the instructions tells what a hook does that one would not expect.
package hook
