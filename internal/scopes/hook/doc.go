// Package hook places the connections of control groups by programs that run in the
// kernel: cgroup v2 BPF at connect(2) and at sendto(2) of sockets that are not connected.
//
// The programs cannot wait for anybody, so what they do lies in maps, filled in
// beforehand: to which scope a control group, user and command belong ([Table.SetGroup],
// [Table.SetMember]), what is done with a scope's connections ([Table.SetUsual]) and with
// those to single destinations ([Table.SetAnswer]), and which destinations have ways of
// their own ([Table.SetAside]). What was done is told by [Table.Read].
//
// A socket that already has a source or a device is left alone: its program knows where it
// goes, or somebody has placed it before. So are destinations on one link only, sockets of
// other network namespaces, and all sockets once nobody has called [Table.Hold] for a
// while, except in scopes that are strict, where these connections are refused.
//
// The programs are put together here, instruction by instruction, so that no compiler is
// needed. What each hook is known to do besides what one expects stands beside the
// instructions concerned.
package hook
