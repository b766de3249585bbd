// Package pathstat measures the networks of this host from what the kernel already
// knows, without sending a packet. Round-trip times and loss come from the TCP
// connections (inet_diag, which also tells of those that end between two passes), rates
// from the link counters (rtnetlink), and signal and load of wireless links from nl80211.
//
// Where the kernel reports round-trip times and losses by itself (Options.Observe), its list of
// connections is read to reconcile only: every two seconds at most. A watcher that follows
// connections still hears of all at each pass. What is not reported, such as the bytes that a
// connection has received and who has a new one, is asked for one connection at a time, because
// the kernel's hooks do not run for segments that only bring data. A pass takes, in processor time
// (BenchmarkFollow and BenchmarkFlows, on two busy cores):
//
//	connections   dump      reports   and questions about 0   10        100       256
//	100           1.5 ms    0.1 ms    0.06 ms                 0.07 ms   0.3 ms
//	1000          1.9 ms    0.4 ms    0.2 ms                  0.2 ms    0.5 ms    0.7 ms
//	10 000        17 ms     5 ms      1.6 ms                  1.4 ms    2.0 ms    2.2 ms
//
// The list is read as often as without reports in these cases: while a network may be silent; if
// connections begin that are not reported, or thousands are not; and if a watcher follows more
// than 256, or there are more than 16384.
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
