// Package httpintent is an http.RoundTripper whose requests each go over the
// network that the Multi Access Manager chooses for them.
//
//	web := &http.Client{Transport: new(httpintent.Transport)}
//
// A client.Dialer as the dial function of an http.Transport has the manager
// choose for connections; whatever is requested over one that is idle follows
// the choice made for an earlier request. A [Transport] asks for every request:
// about its host and what the context says of it (intent.NewContext), with the
// idle connections on offer for reuse. Where the manager says that its answer holds for
// more requests of the kind, those are not asked about. It keeps an http.Transport for each
// network that was chosen, which does all the rest: HTTP/1.1 and HTTP/2, TLS,
// proxies, retries, limits.
//
// # Expected sizes
//
// Where the context states no file size, that of earlier responses to the same
// URL pattern is stated. A pattern is the method, the host with its port, and
// the path, in which each run of decimal digits counts as one sign, and so does
// each element between slashes of 16 or more hexadecimal digits and hyphens. The
// query is no part of it. So all of
//
//	GET http://cdn.example.net/video/7/seg-0041.ts?token=3f
//	GET http://cdn.example.net/video/8/seg-12.ts
//
// count as one. The sizes of successful responses to a pattern are smoothed, the
// latest with a weight of a quarter, and the power of two next to that is stated,
// so that requests of about one size are one question to the manager. The least
// recently used patterns are forgotten (Transport.MaxPatterns).
//
// # Several networks at once
//
// With Transport.Split a large response comes over several networks, by ranges, and is
// read as one. The server need not know of it: it takes byte ranges and a strong
// validator, as most servers of files have. [Save] writes such a response to a file in
// the order in which it comes, [ProgressOf] tells what each network has brought.
package httpintent
