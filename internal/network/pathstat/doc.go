// Package pathstat measures the networks of this host from what the kernel already
// knows, without sending a packet. Round-trip times and loss come from the TCP
// connections (inet_diag, which also tells of those that end between two passes), rates
// from the link counters (rtnetlink), and signal and load of wireless links from nl80211.
//
// Where the kernel reports round-trip times and losses by itself (Options.Observe), its list of
// connections is read to reconcile only.
//
// [PathEstimator] and [LinkEstimator] are plain values that turn samples and times into
// the figures of doc/original/measurement.md. They read no clock and do no I/O.
// [Sampler] feeds them, and publishes a [Snapshot] after each pass. A decision reads
// the newest snapshot with one atomic load, and never waits for a pass. [Log] writes
// the original's CSV files from snapshots.
//
// [Sampler.Set] tells the sampler which prefixes exist. Finding them is the task of
// internal/network/netmon.
package pathstat
