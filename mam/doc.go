// Package mam is the Multi Access Manager's engine: it takes requests from
// clients over Unix sockets, asks the policy, and answers.
//
// # Words
//
//	request   what a client sends, and all that is known of it until it is answered
//	decision  what the policy says about a request; the default decision where there is
//	          no policy, or none that works
//	result    what a Resolver found out about the request's name
//	answer    what the client is sent: its own message with decision and result put in
//	outcome   what the client reports later of how the decision turned out
//
// # The walk of one request
//
//	Server.Serve            accepts a client, notes its credentials
//	conn.serve              reads one request after the other (internal/wire)
//	conn.handle             takes the current View, one atomic load
//	request.fill            makes what the policy is asked: the candidates, narrowed to
//	                        the prefixes that reach the destination
//	Manager.choose          has the policy decide, and refuses what it was not offered
//	Runner.call             calls the policy, one call at a time, panics recovered
//	conn.finish             resolves the name over the chosen prefix, if asked to
//	Manager.remember        keeps the decision, for people and for reports
//	request.putDecision     turns the message into the answer; putResult and putSocket
//	                        put in what a name resolved to, or the idle socket to use
//	conn.grant              puts the decision's lease into the answer, if it has one
//	conn.send               encodes and writes the answer
//
// The decision on a name may have to be made again when its address is known; then
// conn.finish goes back to Manager.choose (conn.resolve).
//
// # A policy that is stuck
//
// The goroutine of the connection is inside of the policy, and nothing can bring it
// back. Another one takes its place:
//
//	connection's goroutine               Manager.Run's goroutine
//	     |
//	conn.serve ... Runner.call
//	     |   turn taken, state odd
//	     |                                    | every watchInterval: Runner.check
//	 policy.Choose                            | the call has run for callLimit
//	     |                                    |   state: abandoned (compare and swap)
//	     |  does not return                   |   policy out of service, until a reload
//	     |                                    |   go conn.resume ----> new goroutine
//	     :                                                                  |
//	     :                                       takes a copy of the request
//	     :                                       default decision, conn.finish, answer
//	     :                                       conn.serve: next request ...
//	     |  returns after all
//	Runner.call: state was changed, so mine = false
//	conn.handle, conn.serve return and touch nothing
//
// The swap of state settles who goes on if both come at once: exactly one of them
// finds it as it was. Clients that wait for their turn meanwhile get the default
// decision, as do all requests after that. The stuck call keeps its turn, its
// memory and the policy, which is not closed.
//
// # State
//
// A View holds the prefixes with all that is known of them, the policy and the
// resolvers. It never changes; measurements, network changes and a reloaded
// configuration publish a new one. Nothing on the walk waits for a measurement
// or a log file. It waits for another client only while that one has the policy's turn.
// A name delays only the connection that asked for it.
//
// # Leases
//
// A decision may hold for further requests of the same client (policy.Lease). That
// client then does not ask, so nothing of the walk happens; a page of shared memory
// (internal/generation) tells it when to ask again. Publish compares the Views and
// raises the generations of what has changed, when the new one is the current one.
// A request takes the generations before it takes its View: if both change in between,
// its lease is void from the start. Later the client tells how many connections there
// were; they count with the decision, and have no records of their own.
//
// The package declares small interfaces for what it needs from others (Resolver, Routes,
// Destinations). The programs pass the implementations in.
package mam
