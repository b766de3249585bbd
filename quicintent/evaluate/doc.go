// Evaluate measures how a download and a page by HTTP/3 fare while the network that they
// use dies (E11), over emulated links in network namespaces: with quicintent, with quic-go
// on a plain socket, and with HTTP/2 over Multipath TCP.
//
//	go run ./evaluate             # ten repetitions, about half an hour
//	go run ./evaluate --quick     # one, with limits that must hold
//
// There are two networks of 40 Mbit/s with a round-trip time of 20 ms. The first one, which
// is the default network, dies when a third of the bytes have been sent. It dies by an
// event, when its link goes down, or in silence, when it loses every packet. In one case it
// comes back after three seconds.
package main
