// Package hostbed puts the network state of a described host (package hostfile)
// into a fresh network namespace of the real kernel, with a world around it that
// answers, and tells where the first packet to each destination came out.
//
// A process has one such namespace for itself: Child starts the test's own program
// again in one, so that daemon, clients and sockets in it need no special treatment.
//
// Links are stand-ins: a veth pair for what carries frames, a TUN device for what
// carries bare packets (tunnels, ppp, raw modems); bridges are real. The world is
// behind all of them: it answers for every neighbour but those that the description
// says have failed, accepts every TCP connection, and says nothing else. As kernels
// lack many kinds, the kind that the description gives is told to netmon by its
// option Kind (World.Kind). A VRF cannot be stood in for: where the kernel has none
// Load wraps testbed.ErrUnavailable.
package hostbed
