// Package config reads the daemon's configuration, in HCL or in the grammar of
// the original daemon, into one validated [Config]. Text stops here: whoever
// uses a Config parses nothing any more.
//
// What it leaves to others: whether a policy of the configured name exists and
// what its settings mean (package policy and the policies themselves), which
// local prefixes there are, and opening what the paths name.
package config
