// Package testbed builds a small world of network namespaces for tests, demos
// and evaluation: a client host with several access networks, a server behind
// each of them, and one server that all of them reach under the same address.
//
//	client ──wlan0── gateway of wlan0 ──┐
//	       ──wwan0── gateway of wwan0 ──┴── service (192.0.2.1)
//
// The links to the gateways are veth pairs, or emulated ones with rate, delay,
// queue and loss of their own (LinkConfig), for kernels without netem.
//
// All namespaces are anonymous: they have no name in the file system and are
// held open by descriptors and threads of this process only, so that nothing of
// them outlives it, however it ends. Nothing of the host's own network is
// changed.
//
// Making namespaces needs CAP_SYS_ADMIN and CAP_NET_ADMIN. Without them a
// program calls Enter first, which starts it again in a user namespace of its
// own; tests do so in TestMain:
//
//	func TestMain(m *testing.M) {
//		testbed.Enter() // New says what is missing if this does not help
//		os.Exit(m.Run())
//	}
//
// New is for any program; ForTest wraps it for tests, which it skips where the
// host cannot make namespaces.
package testbed
