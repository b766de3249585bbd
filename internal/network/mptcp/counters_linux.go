package mptcp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Counters are the counters of the network namespace since it was made (MPTcpExt of
// /proc/net/netstat).
type Counters struct {
	// Opened counts connections for which this host asked for MPTCP. Accepted counts
	// those for which a peer did.
	Opened, Accepted uint64
	// NoPeer counts connections of this host that became plain TCP, because the peer
	// does not speak MPTCP or a middlebox removed its options.
	NoPeer uint64
	// Fallbacks holds all counters of connections that became plain TCP, by the
	// kernel's names. NoPeer is among them. Kernels differ in which counters they have.
	Fallbacks map[string]uint64
	// JoinsSent and JoinsReceived count requests for subflows.
	JoinsSent, JoinsReceived uint64
}

// maxNetstat bounds how much of the file is read. The file has some kilobytes.
const maxNetstat = 1 << 18

// CounterReader reads the Counters of the namespace in which it was opened.
type CounterReader struct{ f *os.File }

// OpenCounters opens a CounterReader.
func OpenCounters() (*CounterReader, error) {
	f, err := os.Open("/proc/thread-self/net/netstat")
	if err != nil {
		return nil, fmt.Errorf("read MPTCP counters: %w", err)
	}
	return &CounterReader{f}, nil
}

// Close closes the reader.
func (r *CounterReader) Close() error { return r.f.Close() }

// Read returns the present Counters.
func (r *CounterReader) Read() (Counters, error) {
	c, err := parseCounters(io.NewSectionReader(r.f, 0, maxNetstat))
	if err != nil {
		return c, fmt.Errorf("read MPTCP counters: %w", err)
	}
	return c, nil
}

var errNoCounters = errors.New("no MPTcpExt counters")

// parseCounters reads the pair of lines "MPTcpExt: NAMES" and "MPTcpExt: VALUES".
func parseCounters(r io.Reader) (Counters, error) {
	c := Counters{Fallbacks: map[string]uint64{}}
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxNetstat)
	var names []string
	for scanner.Scan() {
		rest, ok := bytes.CutPrefix(scanner.Bytes(), []byte("MPTcpExt:"))
		if !ok {
			continue
		}
		fields := strings.Fields(string(rest))
		if names == nil {
			names = fields
			continue
		}
		for i, name := range names[:min(len(names), len(fields))] {
			n, err := strconv.ParseUint(fields[i], 10, 64)
			if err != nil {
				return c, err
			}
			c.set(name, n)
		}
		return c, nil
	}
	if err := scanner.Err(); err != nil {
		return c, err
	}
	return c, errNoCounters
}

// set stores a counter by its name in net/mptcp/mib.c.
func (c *Counters) set(name string, n uint64) {
	switch name {
	case "MPCapableSYNTX":
		c.Opened = n
	case "MPCapableSYNRX":
		c.Accepted = n
	case "MPCapableFallbackSYNACK":
		c.NoPeer = n
	case "MPJoinSynTx":
		c.JoinsSent = n
	case "MPJoinSynRx":
		c.JoinsReceived = n
	}
	if strings.Contains(name, "Fallback") && n > 0 && name != "FallbackFailed" {
		c.Fallbacks[name] = n
	}
}
