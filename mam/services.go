package mam

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// services is the host's services database (services(5)), read as getservbyname(3)
// reads it. Package net differs in that it does not tell capitals from small letters,
// which makes names of what the original's daemon refuses, and misses those in the file
// that have capitals. The zero value reads /etc/services, again whenever that changes.
// It is safe for concurrent use.
type services struct {
	path string // "": /etc/services

	mu    sync.Mutex
	read  fileVersion // of which ports are; zero: none was read
	ports map[serviceName]uint16
}

// serviceName is a name or an alias with its transport, "" for that of the first entry.
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
	// maxServices bounds the file: that of IANA's registry has less than a megabyte.
	maxServices = 8 << 20
)

// port returns the port of a service as the original's resolver library finds it: a
// number (see number), or, unless numeric is set, a name. The network is "tcp" or
// "udp"; with "" the name's first entry counts, whatever its transport. Where there is no
// file, as in small containers, common names are known all the same.
func (s *services) port(network, service string, numeric bool) (uint16, error) {
	if n, ok := number(service); ok {
		return n, nil
	}
	short := service[:min(len(service), maxService)]
	if numeric || len(service) > maxService || service == "" {
		return 0, fmt.Errorf("service %q: neither a port nor a name", short)
	}
	n, ok, there := s.named(network, service)
	switch {
	case ok:
		return n, nil
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
		if n, err = own.LookupPort(context.Background(), network, service); err == nil { // asks nobody
			return uint16(n), nil
		}
	}
	return 0, fmt.Errorf("service %q: %w", short, err)
}

// number reads a port as strtol(3) reads numbers: blanks, a sign and zeros may stand
// before it, nothing behind it. What is out of range is none; the original's library
// cuts off what is beyond 32 bits.
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

// named looks a name up in the file, and tells whether there is one.
func (s *services) named(network, name string) (n uint16, ok, there bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshLocked()
	n, ok = s.ports[serviceName{network, name}]
	return n, ok, s.ports != nil
}

// refreshLocked reads the file if it is another one than that which was read. Without
// one there are no names.
func (s *services) refreshLocked() {
	path := s.path
	if path == "" {
		path = "/etc/services"
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		s.read, s.ports = fileVersion{}, nil
		return
	}
	version := fileVersion{info.ModTime(), info.Size()}
	if version == s.read {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		s.read, s.ports = fileVersion{}, nil
		return
	}
	defer func() { _ = f.Close() }()
	s.read, s.ports = version, parseServices(io.LimitReader(f, maxServices))
}

// parseServices reads a file of lines such as "http 80/tcp www # comment". The first
// entry of a name counts; what is no entry is passed over.
func parseServices(r io.Reader) map[serviceName]uint16 {
	ports := map[serviceName]uint16{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
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
	return ports
}
