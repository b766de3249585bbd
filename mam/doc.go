// Package mam is the Multi Access Manager's engine: it takes requests from
// clients over Unix sockets, asks the policy, and answers.
//
// The walk of one request:
//
//	Server.Serve      accepts a client, notes its credentials
//	conn.serve        reads one request after the other (internal/wire)
//	conn.handle       takes the current View, one atomic load
//	request.fill      makes the policy's Request of the message: candidates,
//	                  narrowed to the prefixes that reach the destination
//	Runner.call       calls the policy, one call at a time, contained
//	conn.finish       resolves the name on the chosen prefix, if asked to
//	reply             turns the message into its answer, which is sent back
//
// A View holds the prefixes with all that is known of them, the policy and the
// resolvers. It never changes; measurements, network changes and a reloaded
// configuration publish a new one. Nothing on the walk waits for a measurement,
// a log file, the resolver of another prefix, or another client, but for the
// policy's turn.
//
// What the package needs from others it declares as small interfaces (Resolver,
// Stats); the programs pass the implementations in.
package mam
