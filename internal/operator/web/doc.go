// Package web shows a person what the daemon sees and does: a page for a browser of
// this host, made of what the control socket tells.
//
// # Who gets at it
//
// The server is for loopback addresses. Other users of the host, and pages of others in
// the same browser, can connect to those, too. What the daemon tells is therefore given to
// those only who have the token: 128 random bits, in the link that mammactl prints. The token stands
// behind the link's "#", which browsers send to nobody; the page hands it on in a
// header field. There is no cookie: a browser would send it to the servers of other
// users at other ports of the same address. Requests with another Host than the link's (pages
// of others that have their name lead here, by DNS rebinding) and with another Origin
// get nothing, whatever they know.
//
// The files of the page themselves hold nothing of this host and need no token.
//
// # Text of others
//
// Interfaces, programs, hosts and policies name themselves. The page makes text of
// whatever comes, never markup. Its Content-Security-Policy has the browser hold it to that:
// no script but the page's files, no style from elsewhere, no request to others, and no text is
// made into markup (Trusted Types).
package web
