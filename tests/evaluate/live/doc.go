// Package live plays the workloads of the evaluation over emulated links, with
// real TCP, real daemons and the real client library. A Rig is a client host with
// two access networks and a daemon for each policy that is compared; they all
// measure the same traffic. Programs (browser, downloads, video player, messages)
// run in an actor inside the client host, as a Way says: over one network alone,
// over MPTCP, or as a daemon decides.
//
// Servers are named by address, so that no comparator needs a resolver.
package live
