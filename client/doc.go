// Package client dials connections whose network the Multi Access Manager
// chooses, following what the program says about them: its intents.
//
// A [Dialer] takes the place of a net.Dialer, for http.Transport and whatever
// else takes a dial function. [intent.NewContext] states intents in a
// context, [intent.Parse] reads them from a flag or a file. [InfoOf] tells what was
// decided for a connection. A [Pool] keeps connections for reuse and lets the
// manager choose among the idle ones.
//
// Intents are hints, and so is the manager: without it, or when it does not
// answer in time, connections are dialled plainly. A [Daemon] is the way to it;
// it needs to be named only to change its settings or to share it.
//
// # What happens in a dial
//
// The manager is asked for a decision, which takes some tens of microseconds
// and is waited for as long as answers took of late and the intents allow
// ([Daemon].DecisionTimeout). Where it says that its decision holds for further
// connections of the same kind, these follow it without asking, until it says
// otherwise by a page of shared memory ([Daemon].MaxLeases). [Info].Err tells why a dial went plain, and
// [Daemon.PlainDials] and mammactl status tell how many did. The name is then resolved by the resolver of
// the chosen network, with that resolver's own patience. The connection is bound
// to the suggested source address and, where the manager says that the address
// alone would not do, to the interface. If it fails, or is slow (RFC 8305), the
// alternates that the manager named are raced against it, and at last a plain
// dial; a resolver that is slow is not waited for either. What slow means
// depends on what the manager knows of the way. How it turned out is reported
// back.
//
// The daemon of the original Socket Intents is spoken to as well: decision and
// resolution are one exchange then, and there are no alternates.
//
// Elsewhere than on Linux everything builds and dials plainly.
package client
