// Package client dials connections whose network the Multi Access Manager
// chooses, following what the program says about them: its intents.
//
// A [Dialer] takes the place of a net.Dialer, for http.Transport and whatever
// else takes a dial function. [intent.NewContext] states intents in a
// context, [intent.Parse] reads them from a flag or a file. [InfoOf] tells what was
// decided for a connection. A [Pool] keeps connections for reuse and lets the
// manager choose among the idle ones.
//
// Intents are hints, and so is what the manager says: if the manager is not there, or does
// not answer in time, connections are dialled plainly. A [Daemon] is the way to the
// manager. Programs need one only to change its settings or to share it.
//
// # What happens in a dial
//
// The dial asks the manager for a decision, which takes some tens of microseconds. It
// waits for the answer according to the intents and to how long answers took lately
// ([Daemon].DecisionTimeout). If the manager says that its decision holds for further
// connections of the same kind, these follow the decision without asking, until the
// manager ends it through a page of shared memory ([Daemon].MaxLeases). [Info].Err tells
// why a dial went plain; [Daemon.PlainDials] and mammactl status tell how many did.
//
// Then the resolver of the chosen network resolves the name. The connection is bound to
// the suggested source address, and to the interface if the manager says that the
// address alone is not enough. If the connection fails, or is slow (RFC 8305), the
// alternates that the manager has named are raced against it, and in the end a plain
// dial. If a resolver is slow, the race goes on in the same way. The manager's
// knowledge of the path decides how slow is too slow. The manager is told how the
// connection came about.
//
// The package also speaks to the daemon of the Socket Intents prototype. One exchange
// then brings both decision and addresses, and there are no alternates.
//
// # Datagrams and the networks themselves
//
// [Dialer.ListenPacket] opens a datagram socket, as QUIC and calls need it, on the network
// that the manager chooses, and tells when that network fails or another one has become
// better. [Dialer.Networks] lists the networks, and [Dialer.Watch] every change of them.
//
// On other systems than Linux the package builds, and dials plainly.
package client
