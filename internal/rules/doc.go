// Package rules states intents for connections whose program states none, by rules in a
// configuration: by destination, port, user and program. The proxy and "mammactl run"
// read the same blocks with it. Scopes apply rules in the kernel, and combine intents as here.
package rules
