// Package testbed builds a small world of network namespaces for tests, demos and
// evaluation. It has a client host with several access networks, a server behind each
// of them, and one server that is reached through all of them at the same address.
//
//	client ──wlan0── gateway of wlan0 ──┐
//	       ──wwan0── gateway of wwan0 ──┴── service (192.0.2.1)
//
// The links to the gateways are veth pairs or emulated links. Emulated links have a
// rate, a delay, a queue and a loss of their own (LinkConfig) and do not need netem in
// the kernel.
//
// All namespaces are anonymous. They have no name in the file system; only descriptors
// and threads of this process hold them open. So nothing of them outlives the process,
// however it ends. The host's own network is not changed.
//
// Making namespaces needs CAP_SYS_ADMIN and CAP_NET_ADMIN. A program without them calls
// Enter first, which starts the program again in a user namespace of its own. Tests do
// so in TestMain:
//
//	func TestMain(m *testing.M) {
//		testbed.Enter() // New says what is missing if this does not help
//		os.Exit(m.Run())
//	}
//
// Any program may use New. Tests use ForTest, which skips the test if the host cannot
// make namespaces.
package testbed
