package sockdiag

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	bytecode     = 1 // INET_DIAG_REQ_BYTECODE, linux/inet_diag.h
	bcJump       = 1 // INET_DIAG_BC_JMP
	bcSourceCond = 7 // INET_DIAG_BC_S_COND
	attrLen      = 4 // struct nlattr
)

// maxFilter is the greatest number of addresses that the kernel filters by. The kernel
// compares one after another, so with many addresses it is cheaper to sort out sockets
// here.
const maxFilter = 32

// AppendFilter appends a program for the kernel to a request for a dump. By it the kernel
// skips sockets with other local addresses before it collects their figures, which is most
// of the cost. The kernel compares IPv4 addresses with mapped ones, too. If there are too
// many addresses, or none, AppendFilter appends nothing, and the dump has all sockets.
func AppendFilter(b []byte, addrs []netip.Addr) []byte {
	if len(addrs) == 0 || len(addrs) > maxFilter {
		return b
	}
	// For each address there is a condition and, if it holds, a jump to the end of the
	// program, which accepts the socket. A jump beyond the end rejects it.
	var program []byte
	var jumps []int
	for i, a := range addrs {
		a = a.Unmap()
		family := byte(unix.AF_INET)
		if a.Is6() {
			family = unix.AF_INET6
		}
		size := 4 + 8 + a.BitLen()/8
		program = append(program, bcSourceCond, byte(size))
		program = binary.NativeEndian.AppendUint16(program, uint16(size+4))
		program = append(program, family, byte(a.BitLen()), 0, 0)
		program = binary.NativeEndian.AppendUint32(program, 0xFFFFFFFF) // any port
		program = append(program, a.AsSlice()...)
		if i < len(addrs)-1 {
			jumps = append(jumps, len(program))
			program = append(program, bcJump, 4, 0, 0)
		}
	}
	for _, at := range jumps {
		binary.NativeEndian.PutUint16(program[at+2:], uint16(len(program)-at))
	}
	b = binary.NativeEndian.AppendUint16(b, uint16(attrLen+len(program)))
	b = binary.NativeEndian.AppendUint16(b, bytecode)
	return append(b, program...)
}
