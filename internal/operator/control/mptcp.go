package control

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Multipath is the answer to /v1/mptcp: what the kernel shows of Multipath TCP.
type Multipath struct {
	Now time.Time `json:"now"`
	// PathManager says who opens the subflows of new connections, as in
	// net.mptcp.path_manager.
	PathManager *string `json:"path_manager"`
	Managed     bool    `json:"managed"` // the daemon opens subflows, or configures the kernel's path manager
	// PerConnection tells that the policy is asked about each connection, so that
	// its vetoes hold. If it is false although mamma manages subflows, the policy is
	// asked about all connections at once.
	PerConnection bool                `json:"per_connection"`
	Complete      bool                `json:"complete"`    // false: only the peer's own connections are shown
	Connections   []MultipathConn     `json:"connections"` // at most 1000
	Omitted       int                 `json:"omitted"`     // number of further ones
	Endpoints     []MultipathEndpoint `json:"endpoints"`
	// Without are the networks that lack an endpoint because the kernel has no room for
	// more. Connections get no subflows over them.
	Without  []PrefixRef       `json:"without_endpoint"`
	Counters MultipathCounters `json:"counters"`
}

// MultipathConn is one connection. Bytes are those of the connection, each
// counted once, whatever subflow carried it.
type MultipathConn struct {
	Token    string             `json:"token"` // by which the kernel identifies it
	Local    string             `json:"local"` // of the first subflow
	Remote   string             `json:"remote"`
	UID      uint32             `json:"uid"`
	Fallback bool               `json:"fallback"` // it became plain TCP
	Server   bool               `json:"server"`   // the peer opened it
	Sent     uint64             `json:"sent_bytes"`
	Received uint64             `json:"received_bytes"`
	Decision *uint64            `json:"decision"` // number of the decision that led to it
	Host     *string            `json:"host"`     // of that decision
	Subflows []MultipathSubflow `json:"subflows"`
}

// MultipathSubflow is one TCP connection that carries a part.
type MultipathSubflow struct {
	Local       string   `json:"local"`
	Remote      string   `json:"remote"`
	Prefix      *string  `json:"prefix"` // null: not on a managed prefix
	Interface   *string  `json:"interface"`
	First       bool     `json:"first"`
	Backup      bool     `json:"backup"`      // carries data only if no other can
	Established bool     `json:"established"` // false: still being opened, or plain TCP
	Sent        uint64   `json:"sent_bytes"`
	Received    uint64   `json:"received_bytes"`
	RTTMS       *float64 `json:"rtt_ms"`
}

// MultipathEndpoint is an address that the kernel's path manager uses.
type MultipathEndpoint struct {
	ID    int      `json:"id"`
	Addr  string   `json:"address"`
	Flags []string `json:"flags"` // as "ip mptcp endpoint" names them
}

// MultipathCounters count since the start of the host, or of its network namespace.
type MultipathCounters struct {
	Opened        uint64            `json:"opened"`         // connections for which this host asked for MPTCP
	Accepted      uint64            `json:"accepted"`       // connections for which peers asked for it
	NoPeer        uint64            `json:"no_peer"`        // became plain TCP, because the peer lacks MPTCP
	Fallbacks     map[string]uint64 `json:"fallbacks"`      // all that became plain TCP, by the kernel's names
	JoinsSent     uint64            `json:"joins_sent"`     // subflows that this host asked for
	JoinsReceived uint64            `json:"joins_received"` // those that peers asked for
}

// maxMultipath bounds the connections in an answer, which take a kilobyte or two each. Any
// user can have ten thousands of them.
const maxMultipath = 1000

// mptcp answers /v1/mptcp. A peer that may not read everything is shown its own
// connections only. The connections of the host are in memory once, however many ask.
func (s *Server) mptcp(r *http.Request) (any, error) {
	if s.opts.Multipath == nil {
		return nil, failure(http.StatusNotImplemented, "unsupported", errors.New("MPTCP connections are not looked at"))
	}
	s.looking.Lock()
	defer s.looking.Unlock()
	m, err := s.opts.Multipath()
	if err != nil {
		return nil, failure(http.StatusNotImplemented, "unsupported", fmt.Errorf("MPTCP cannot be looked at: %w", err))
	}
	p := peerFrom(r.Context())
	m.Now, m.Complete = s.opts.now(), s.guard.rights(p).ReadAll
	if !m.Complete {
		m.Connections = slices.DeleteFunc(m.Connections, func(c MultipathConn) bool { return !p.is(c.UID) })
	}
	shown := min(len(m.Connections), maxMultipath)
	m.Omitted = len(m.Connections) - shown
	m.Connections = append([]MultipathConn{}, m.Connections[:shown]...) // the rest is freed before the answer is written
	return m, nil
}
