// Package config reads the daemon's configuration into a validated [Config]. The file
// is in HCL or in the grammar of the original daemon. No code that uses a Config has to
// parse text any more.
//
// Three things are left to others. Whether a policy exists and what its settings mean
// is known to package policy and the policies. Which local prefixes exist is known to
// the network packages. And the paths in a Config are opened by those who use them.
package config
