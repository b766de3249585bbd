// Package bsd is for programs that make their sockets themselves, with file
// descriptors: the classic calls of Socket Intents, and its extended
// getaddrinfo. Programs that can use a net.Conn are better served by package
// client.
//
// A [Context] goes with one flow and with each of its calls:
//
//	var c bsd.Context
//	err := c.SetIntents(intent.Set{}.WithCategory(intent.CategoryBulkTransfer))
//	list, err := c.Getaddrinfo(ctx, "www.example.net", "80", nil)
//	fd, err := c.Socket(list[0].Family, list[0].Type, list[0].Protocol)
//	err = c.Connect(ctx, fd, list[0].Addr) // bound as the manager says
//	err = c.Close(fd)
//
// Intents are options of level [SolIntents], which never reach the kernel. Otherwise
// each call does what the system call of its name does, and returns its errors, which
// errors.Is finds below an *os.SyscallError. If the manager is not there, does not answer
// in time, or has no preference, the calls are the plain ones: names are resolved by the
// host's own resolver, and sockets are not bound (doc/original/client-and-socks.md 6 and
// 12).
//
// [Getaddrinfo] needs no Context. Its results say what to bind to, which options
// to set and which protocol to use (262 is Multipath TCP); [AddrInfo.Socket] and
// [AddrInfo.SimpleConnect] do it.
//
// On other systems than Linux names are resolved and intents stored. The calls on
// descriptors fail there with errors.ErrUnsupported.
package bsd
