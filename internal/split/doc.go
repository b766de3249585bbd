// Package split shares the bytes of one download among several networks. It decides
// which network requests which range next, and when a range is requested once more over
// another network. It knows neither HTTP nor sockets, and has no clock: whoever makes
// the requests tells a [Plan] the results and their times. So the same plan works over
// sockets and in simulated time.
//
// # How work is shared
//
// Ranges are handed out in order. Each network gets what it brings in about a second,
// by its recently measured rate. It gets less if the window is small, and less near the
// end, so that all networks finish at the same time. So bytes that are needed in order
// are ready soon after their turn. Two requests run at a time on each network, so that
// the response of one fills the pause before the other's.
//
// An open response is one that was requested up to the end of the file. It continues
// from the front for as long as it can, because each new request costs a pause of a
// round trip. Over a fast network far away, that pause costs more than a slow network
// brings meanwhile. The other networks are asked for the back of the file, or of the
// window if there is one. When the open response reaches bytes that others have
// brought, it reads a short stretch of these again, but ends before a long one. When it
// reaches bytes that others are still loading, it waits, and goes on if they are late.
//
// A network about which nothing is known begins with a small range, and with one
// request at a time.
//
// When nothing is left to hand out, a free network asks for the end of what a slow
// network is loading. It takes as much as makes both finish at the same time. Both go
// on until all bytes have come, so that a wrong guess costs bytes, but nothing is lost.
// The same happens earlier if the reader waits for a range and the window is used up.
//
// A failed range is handed out again. Its network is left alone for a moment, which
// grows with each failure in a row.
package split
