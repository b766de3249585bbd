// Package split shares the bytes of one download among several networks: which
// network asks for which range next, and when a range is asked for once more over
// another network. It knows neither HTTP nor sockets, and has no clock: whoever
// makes the requests tells a [Plan] what came of them and when. The same plan
// works over sockets and in simulated time.
//
// # How work is shared
//
// Ranges are handed out in order. Each network gets as much as it brings in about
// a second at the rate measured of late, less where the window is small, and less
// near the end, so that all are done at the same time. What is to be ready in
// order is therefore ready soon after its turn. Two requests are under way on a
// network, so that one's response fills the pause before the other's.
//
// A response that was asked for to the end (an open one) goes on from the front for as
// long as it can: each new request of a connection costs a pause of a round trip, which
// over a fast network far away is more than a slow one brings in that time. Others are
// asked meanwhile for what is at the back, of the window if there is one. Where the open
// response meets what they brought, it reads a short stretch again, and ends before a
// long one. Where it meets what they still bring, it waits, and goes on if they are late.
//
// A network that nothing is known of begins with a small range, and with one
// request at a time.
//
// Where nothing is left to hand out, a network that is free asks for the end of
// what another is slow with, as much as makes both finish at the same time. Both
// go on until all bytes are there, so a wrong guess costs bytes, but nothing is
// lost. The same happens in the middle when the reader waits for a range and the
// window is used up.
//
// A range that failed goes back to what is to be handed out. Its network is left
// alone for a moment, longer after each failure in a row.
package split
