package raw

import (
	"context"
	"net"
	"strconv"
	"strings"
)

// Port is r.LookupPort, but refuses every number that is too large. LookupPort cuts
// some numbers of more than 32 bits, so that it takes 4294967376 for port 80 (Go 1.26).
func Port(ctx context.Context, r *net.Resolver, network, service string) (uint16, error) {
	if digits := strings.TrimPrefix(service, "+"); digits != "" && strings.Trim(digits, "0123456789") == "" {
		n, err := strconv.ParseUint(digits, 10, 16)
		if err != nil {
			return 0, &net.AddrError{Err: "invalid port", Addr: service}
		}
		return uint16(n), nil
	}
	n, err := r.LookupPort(ctx, network, service)
	return uint16(n), err
}
