package mam

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/bounded"
)

// services is the host's services database (services(5)), read as getservbyname(3)
// reads it. Package net cannot be used instead, since it ignores case: it would accept
// names that the original's daemon refuses, and would miss names with capital letters
// in the file. The zero value reads /etc/services, and reads it again when the file has
// changed. It is safe for concurrent use.
type services struct {
	path string // "": /etc/services

	mu    sync.Mutex
	read  fileVersion // version of the file that ports was read from; zero: none
	ports map[serviceName]uint16
	cut   bool // the file is longer than maxServices, and its end is not in ports
}

// serviceName is a name or an alias with its transport. The transport "" stands for the
// name's first entry.
type serviceName struct{ network, name string }

// fileVersion tells one version of a file from another.
type fileVersion struct {
	changed time.Time
	size    int64
}

const (
	// maxService is longer than any registered service name (RFC 6335 section 5.1
	// allows 15 bytes).
	maxService = 64
	// maxServices bounds how much of the file is read: that of IANA's registry has less
	// than a megabyte.
	maxServices = 8 << 20
)

// port returns the port of a service as the original's resolver library finds it. A
// service is a number (see number) or, unless numeric is set, a name. The network is
// "tcp" or "udp"; for "" the name's first entry counts, whatever its transport. If
// there is no services file, as in small containers, common names are known all the
// same.
func (s *services) port(network, service string, numeric bool) (uint16, error) {
	if n, ok := number(service); ok {
		return n, nil
	}
	short := service[:min(len(service), maxService)]
	if numeric || len(service) > maxService || service == "" {
		return 0, fmt.Errorf("service %q: neither a port nor a name", short)
	}
	n, ok, there, cut := s.named(network, service)
	switch {
	case ok:
		return n, nil
	case cut:
		return 0, fmt.Errorf("service %q: no such name in the first %d bytes of the services file, which is longer", short, maxServices)
	case there || service != strings.ToLower(service) || strings.Trim(service, "+-0123456789") == "":
		return 0, fmt.Errorf("service %q: no such name", short)
	}
	networks := []string{network}
	if network == "" {
		networks = []string{"tcp", "udp"}
	}
	var err error
	own := net.Resolver{PreferGo: true}
	for _, network := range networks {
		var n int
		if n, err = own.LookupPort(context.Background(), network, service); err == nil { // reads its own list, asks no server
			return uint16(n), nil
		}
	}
	return 0, fmt.Errorf("service %q: %w", short, err)
}

// number reads a port as strtol(3) reads numbers: blanks, a sign and zeros may stand
// before the digits, and nothing after them. A number out of range is refused, unlike
// in the original's library, which cuts a number to 32 bits.
func number(service string) (port uint16, ok bool) {
	rest := strings.TrimLeft(service, " \t\n\v\f\r")
	digits, negative := strings.CutPrefix(rest, "-")
	if !negative {
		digits = strings.TrimPrefix(rest, "+")
	}
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	return uint16(n), err == nil && (n == 0 || !negative)
}

// named looks a name up in the services file. The result there tells whether the file
// exists, and cut whether its end was not read.
func (s *services) named(network, name string) (n uint16, ok, there, cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshLocked()
	n, ok = s.ports[serviceName{network, name}]
	return n, ok, s.ports != nil, s.cut
}

// refreshLocked reads the services file if it has changed since it was last read.
// Without a file there are no names.
func (s *services) refreshLocked() {
	path := s.path
	if path == "" {
		path = "/etc/services"
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		s.read, s.ports, s.cut = fileVersion{}, nil, false
		return
	}
	version := fileVersion{info.ModTime(), info.Size()}
	if version == s.read {
		return
	}
	f, err := bounded.Open(path)
	if err != nil {
		s.read, s.ports, s.cut = fileVersion{}, nil, false
		return
	}
	defer func() { _ = f.Close() }()
	s.read = version
	s.ports, s.cut = parseServices(bounded.NewReader(f, maxServices))
}

// parseServices reads lines such as "http 80/tcp www # comment". If a name has several
// entries, the first counts. Lines that are not entries are passed over. If r fails before
// its end, cut is true, and its last line does not count: the part that is there could have
// another port.
func parseServices(r io.Reader) (ports map[serviceName]uint16, cut bool) {
	ports = map[serviceName]uint16{}
	lines := bufio.NewReader(r) // of any length: a Scanner ends at a long one
	for more := true; more; {
		text, err := lines.ReadString('\n')
		more = err == nil
		if !more && !errors.Is(err, io.EOF) {
			return ports, true
		}
		line, _, _ := strings.Cut(text, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		digits, network, ok := strings.Cut(fields[1], "/")
		n, err := strconv.ParseUint(digits, 10, 16)
		if !ok || err != nil {
			continue
		}
		for i, name := range fields {
			if i == 1 || len(name) > maxService {
				continue
			}
			for _, network := range []string{network, ""} {
				key := serviceName{network, name}
				if _, known := ports[key]; !known {
					ports[key] = uint16(n)
				}
			}
		}
	}
	return ports, false
}
