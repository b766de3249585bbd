// Package httpintent is an http.RoundTripper that sends each request over the network
// which the Multi Access Manager chooses for that request.
//
//	web := &http.Client{Transport: new(httpintent.Transport)}
//
// A client.Dialer as the dial function of an http.Transport works differently. There
// the manager chooses a network per connection, and a request over an idle connection
// follows the choice for an earlier request. A [Transport] asks the manager about every
// request. The question names the host, what the context says about the request
// (intent.NewContext), and the idle connections that could be reused. If the manager
// says that an answer holds for more requests of the kind, these are not asked about.
// The Transport keeps an http.Transport for each network that was chosen, which does
// all the rest: HTTP/1.1 and HTTP/2, TLS, proxies, retries, limits.
//
// # Expected sizes
//
// If the context states no file size, the Transport states the size of earlier
// responses to the same URL pattern. A pattern consists of the method, the host with
// its port, and the path without the query. Two parts of the path count as one sign
// each: a run of decimal digits, and an element between slashes of 16 or more
// hexadecimal digits and hyphens. So these two requests have the same pattern:
//
//	GET http://cdn.example.net/video/7/seg-0041.ts?token=3f
//	GET http://cdn.example.net/video/8/seg-12.ts
//
// The sizes of successful responses to a pattern are smoothed: the latest has a weight
// of a quarter. The Transport states the nearest power of two. Requests of about one
// size are then one question, whose answer can be kept. The least recently used
// patterns are forgotten (Transport.MaxPatterns).
//
// # Several networks at once
//
// With Transport.Split a large response comes over several networks, in byte ranges,
// and is read as one. The server need not cooperate. It must support byte ranges and
// send a strong validator, as most file servers do. [Save] writes such a response to a
// file in the order in which the parts arrive. [ProgressOf] tells what each network has
// brought.
//
// # A second request
//
// With Transport.Hedge, a request whose answer is far behind those of earlier requests of
// its pattern is sent again, over another network that costs nothing. The first answer
// counts.
package httpintent
