// Package wire is the protocol between clients and the Multi Access Manager: bytes to
// values and back. It knows nothing about sockets, policies or time.
//
// A message is a list of TLVs (tag uint32, length int64, value; little endian, no
// alignment) closed by the EOF TLV, twelve zero bytes. doc/protocol.md describes it in
// full; this package speaks it, so that original C peers can be talked to. [Message] is
// one request or answer, [Message.Append] encodes it, [Decode] and [Reader] decode.
//
// Values of socket options, and the lists that carry C structures, are in the host
// order and layout of Linux on amd64 and arm64; other layouts are out of the protocol's
// scope.
//
// # What is strict
//
// Input is hostile until decoded. Fixed-size values must have exactly their size, and
// addresses at least the size of their family (IPv4 or IPv6). Strings must end in their
// one and only NUL. Counts and lengths are checked before anything is allocated. A
// message is at most [MaxMessage] bytes long. The canonical-name quirk of the original
// encoder (section 4.4) is not tolerated: such a list is a bad value, and the stream
// behind it is out of step. Unknown tags are skipped, order does not matter, the last
// of repeated TLVs counts. Pointer fields are tested for zero only, and are sent as 1
// or 0; padding is sent as zero.
//
// # Extensions
//
// The tags from 0x40 on are not in the original. They concern the message as a whole
// and are encoded after its own context, before the members of a socketchoose request.
// Decoders ignore bytes after the fields they know, so that fields can be added;
// numbers are little endian.
//
//	0x40 features      uint32 mask of Features
//	0x41 wide_intents  entries of 12 bytes: uint32 option, int64 value
//	0x42 no_resolve    empty
//	0x43 alternate     int32  protocol
//	                   uint16 length of the local address: 0, 16 or 28
//	                   uint16 length of the device name: 0 to 15
//	                   uint16 number of remote addresses
//	                   uint16 reserved, 0
//	                   the local address, the device name without NUL, the remote
//	                   addresses; an address is 16 or 28 bytes by its family
//	0x44 reason        string with NUL
//	0x45 decision_id   16 bytes
//	0x46 outcome       int32  candidate
//	                   uint32 milliseconds
//	                   int32  errno
//	                   uint16 local port
//	                   uint16 mask of OutcomeFlags; older peers leave it out
//	0x47 paths         entries of 8 bytes, first the chosen prefix, then the
//	                   alternates in their order:
//	                   uint32 round-trip time in microseconds, 0 if unknown
//	                   uint32 health: 0 up, 1 suspect, 2 down
//	0x48 origin        uint32 user id, 0xffffffff if unknown
//	                   uint32 process id, 0 if unknown
//	                   uint16 length of the command name: 0 to 255
//	                   the command name, and to the end, 0 to 255 bytes, where
//	                   the intents are from; neither ends in a NUL
//	0x49 plain_dials   four uint32: dials of this client that went plain since it
//	                   last told, because an answer was late, because the daemon
//	                   was left alone after that, because it was not there, and
//	                   for other reasons
//	0x4a only          uint32 mask of Only
//	0x4b selection     entries, 32 at most, of:
//	                   uint8  kind: 1 interface, 2 network, 3 cost
//	                   int8   want: -2 prohibit, -1 avoid, 1 prefer, 2 require
//	                   uint16 length of the name: 0 to 255
//	                   the name
//	0x4c transfer      int32  candidate
//	                   uint32 mask of TransferFlags
//	                   uint64 bytes received
//	                   uint32 microseconds until the last byte
//	                   uint32 microseconds until the connection was there
//	                   uint32 round-trip time in microseconds
//	                   uint32 least round-trip time in microseconds; of the last
//	                          three 0 is unknown
//	0x4d race          empty; try the first two candidates at once
//	0x4e costs         entries of 12 bytes, in the order of paths:
//	                   uint32 cost: 0 free, 1 metered, 2 expensive
//	                   uint64 bytes left of the budget; 64 ones: there is none
//	0x4f lease         uint32 milliseconds
//	                   uint32 uses, 0 for any number
//	                   uint64 bytes, 0 for any number
//	                   uint32 mask of LeaseFlags
//	                   uint32 mask of the intents that may differ, 1 << option
//	                   int64  smallest file size
//	                   int64  largest file size; both 0 for no range
//	                   uint64 generation of the view
//	                   uint64 generation of measurements, 0 for none
//	                   uint32 number of networks
//	                   for the choice, then for each alternate: uint32 index,
//	                   0 for none, uint64 generation
//	0x50 leased        entries of 28 bytes: 16 bytes decision id, uint32 uses,
//	                   uint32 connected, uint32 milliseconds of the latest
//	0x51 watch         uint64 generation of what is known or told, 0 for none
//	                   uint32 milliseconds after which figures are a change, 0 for never
//	                   uint32 number of networks in all
//	0x52 network       uint32 index of the interface, uint32 health, uint32 cost
//	                   uint32 mask of NetworkFlags
//	                   uint64 bytes left of the budget; 64 ones: there is none
//	                   int64  milliseconds since 1970 when health became so
//	                   four uint32: round-trip time, the least, its variation, all
//	                          in microseconds, and loss in millionths
//	                   four uint64: bytes a second down, up, most down, most up
//	                   int32  signal in dBm
//	                   uint32 use of the channel in thousandths; 32 ones: unknown
//	                   uint8  length of the prefix, uint8 number of addresses
//	                   four uint8: lengths of interface, name, device, reason
//	                   uint16 reserved, 0
//	                   address of the prefix, the four texts without NUL, the
//	                   addresses; an address is 16 or 28 bytes by its family
//	0x53 flow          uint32 mask of FlowFlags
//	                   uint32 index of the interface, 0 if unknown
//	                   three uint32: round-trip time, the least, its variation, in
//	                          microseconds
//	                   uint32 packets sent since the report before
//	                   uint32 packets lost since then
//	                   local address, remote address; each is 16 or 28 bytes by
//	                   its family
package wire
