// Package web serves a page that shows a person what the daemon sees and does. The page is
// for a browser of this host. Its content comes from the control socket.
//
// # Who can read the page
//
// The server listens on loopback addresses only. But other users of the host, and other pages
// in the same browser, can connect to these, too. So only requests with the token get anything
// that the daemon tells. The token is 128 random bits in the link that mammactl prints. It
// stands after the "#" of the link, and browsers send that part to nobody. The page sends the
// token in a header field. There is no cookie, because a browser would also send it to servers
// of other users at other ports of the same address.
//
// Requests with another Host than the link's, or with another Origin, get nothing, even with
// the token. A page of others can have its name lead here (DNS rebinding); the Host is then
// another one.
//
// The files of the page contain nothing about this host and need no token.
//
// # Text of others
//
// Interfaces, programs, hosts and policies choose their own names. The page shows all of these
// as text, never as markup. Its Content-Security-Policy makes the browser enforce that: scripts
// and styles come from the page's files only, requests go to this server only, and no text
// becomes markup (Trusted Types).
package web
