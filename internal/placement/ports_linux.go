package placement

import (
	"os"
	"strconv"
	"strings"
	"sync"
)

// ephemeral tells whether a port is in the range for sockets that ask for none
// (ip_local_port_range, ip(7)).
func ephemeral(port uint16) bool {
	r := ephemeralRange()
	return r[0] <= port && port <= r[1]
}

var ephemeralRange = sync.OnceValue(func() [2]uint16 {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		if f := strings.Fields(string(b)); len(f) == 2 {
			low, err1 := strconv.ParseUint(f[0], 10, 16)
			high, err2 := strconv.ParseUint(f[1], 10, 16)
			if err1 == nil && err2 == nil {
				return [2]uint16{uint16(low), uint16(high)}
			}
		}
	}
	return [2]uint16{32768, 60999} // the kernel's default
})
