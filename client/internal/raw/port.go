package raw

import (
	"context"
	"net"
	"strconv"
	"strings"
)

// Port is r.LookupPort, but that it refuses numbers of more than 32 bits as it does all
// that are too large: LookupPort cuts some of them off, so that 4294967376 is port 80
// (Go 1.26).
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
