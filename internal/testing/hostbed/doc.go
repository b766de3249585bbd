// Package hostbed puts the network state of a described host (package hostfile)
// Package hostbed puts the network state of a described host (package hostfile) into a
// new network namespace of the real kernel. It simulates the world around that host,
// which answers, and tells where the first packet to each destination came out.
// A process has one such namespace for itself: Child starts the test's own program
// The namespace belongs to a whole process. Child starts the test's own program again
// in one, so that daemon, clients and sockets there need no special treatment.
// Links are stand-ins. A veth pair stands for a link that carries frames, and a TUN
// device for one that carries bare packets (tunnels, ppp, raw modems). Bridges are real.
// The world is behind all links. It answers for every neighbour except those that the
// description calls failed, accepts every TCP connection, and sends nothing else.
//
// Many kernels lack the described kinds of links. So netmon is told the kind by its
// option Kind (World.Kind). There is no stand-in for a VRF: if the kernel has none, the
// error of Load wraps testbed.ErrUnavailable.
package hostbed
