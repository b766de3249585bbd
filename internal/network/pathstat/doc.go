// Package pathstat measures the networks of this host from what the kernel
// already knows, without sending a packet: round-trip times and loss from the
// TCP connections (inet_diag), rates from the link counters (rtnetlink), and
// signal and load of wireless links (nl80211).
//
// [PathEstimator] and [LinkEstimator] are plain values that turn samples and
// times into the figures of doc/original/measurement.md; they read no clock and do no
// I/O. [Sampler] feeds them and publishes a [Snapshot] after each pass; whoever
// decides reads the newest snapshot with one atomic load and never waits for a
// pass. [Log] writes the original's CSV files from snapshots.
//
// What a prefix is, and which ones there are, is told to the sampler by
// [Sampler.Set]; finding addresses is the work of internal/network/netmon.
package pathstat
