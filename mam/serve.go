package mam

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/process/limits"
	"github.com/socket-intents/mamma/internal/process/unixsocket"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

const (
	// maxClients bounds the number of served connections. Each costs one descriptor and
	// some 10 kB. One user may have half of them, unless that user is root.
	maxClients = 16384
	// A small host affords fewer clients, because of its descriptors and memory. A
	// client takes one descriptor, and two more while a name is looked up for it.
	// otherFiles descriptors, but at most half of all, are set aside for other uses. A
	// hostile client takes up to clientMemory; a quarter of the memory and otherMemory
	// are set aside for other uses.
	filesOfClient = 3
	otherFiles    = 256
	clientMemory  = 64 << 10
	otherMemory   = 32 << 20
	// leastClients may connect even if the limits above allow fewer.
	leastClients = 8
	// writeTimeout is how long an answer may take to be written before the client is
	// dropped. Answers fit the socket's buffer, so only a client that does not read
	// reaches the limit.
	writeTimeout = 10 * time.Second
	// acceptPause is the wait before the next accept after the process ran out of
	// descriptors.
	acceptPause = 50 * time.Millisecond
	// refusalPause is the least time between two log messages about refused clients.
	// Any user can cause refusals, and must not fill the log.
	refusalPause = time.Minute
)

// Server serves the clients of one Manager on any number of sockets.
type Server struct {
	m    *Manager
	most int // at most so many clients

	mu    sync.Mutex
	count int
	users map[uint32]int

	refused     int // since the last message about it
	refusedTold time.Time
}

// NewServer makes a Server. Its number of clients is bounded by the process's limits on
// descriptors and memory.
func NewServer(m *Manager) *Server {
	return &Server{m: m, most: affordable(limits.Files(), min(limits.Memory(), limits.Host()/2)), users: map[uint32]int{}}
}

// affordable returns the number of clients that so many descriptors and bytes of memory
// allow.
func affordable(files uint64, memory int64) int {
	files = min(files, 1<<30)
	byFiles := int(files-min(otherFiles, files/2)) / filesOfClient
	byMemory := int(min((memory-memory/4-otherMemory)/clientMemory, maxClients))
	return max(leastClients, min(maxClients, byFiles, byMemory))
}

// Clients tells how many connections are served now.
func (s *Server) Clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Serve accepts clients at l until ctx ends, then closes l and all connections
// and waits for them. The error is nil after an orderly end.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	ctx, cancel := context.WithCancel(ctx)
	var serving sync.WaitGroup
	defer serving.Wait()
	defer cancel()
	context.AfterFunc(ctx, func() { _ = l.Close() })
	exhausted := false
	for {
		nc, err := l.AcceptUnix()
		switch {
		case err == nil:
			exhausted = false
			s.admit(ctx, &serving, nc)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.ENOBUFS):
			if !exhausted {
				s.m.log.Error("no client can be accepted for now", "err", err)
				exhausted = true
			}
			pause(ctx, acceptPause)
		case errors.Is(err, syscall.ECONNABORTED):
		default:
			return fmt.Errorf("accept: %w", err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// admit serves a new connection if the limits allow, and else closes it. The connection
// is counted in serving.
func (s *Server) admit(ctx context.Context, serving *sync.WaitGroup, nc *net.UnixConn) {
	raw, err := nc.SyscallConn()
	if err != nil {
		_ = nc.Close()
		return
	}
	cred, err := unixsocket.PeerCred(nc)
	if err != nil || !s.enter(cred.UID) {
		if err == nil {
			s.tellRefused(cred.UID, time.Now())
		} else {
			s.m.log.Warn("a client is refused, as the kernel does not say who it is", "err", err)
		}
		_ = nc.Close()
		return
	}
	c := &conn{m: s.m, ctx: ctx, nc: nc, raw: raw, id: uuid.New(), reader: wire.NewReader(nc), req: &request{}}
	c.takeover, c.tryWrite = c.resume, c.writeSome
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	serving.Add(1)
	c.end = func() {
		stop()
		_ = nc.Close()
		s.leave(cred.UID)
		serving.Done()
	}
	go func() {
		c.app = policy.App{UID: cred.UID, PID: uint32(max(cred.PID, 0))}
		c.app.Command, c.app.Executable = process(cred.PID)
		c.serve()
	}()
}

func (s *Server) enter(uid uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count >= s.most || uid != 0 && s.users[uid] >= s.most/2 {
		return false
	}
	s.count++
	s.users[uid]++
	return true
}

// tellRefused logs that clients were refused, at most once per refusalPause.
func (s *Server) tellRefused(uid uint32, now time.Time) {
	s.mu.Lock()
	s.refused++
	n := s.refused
	tell := s.refusedTold.IsZero() || now.Sub(s.refusedTold) >= refusalPause
	if tell {
		s.refused, s.refusedTold = 0, now
	}
	s.mu.Unlock()
	if tell {
		s.m.log.Warn("too many clients; some are refused", "uid", uid, "n", n, "at_most", s.most, "of_a_user", s.most/2)
	}
}

func (s *Server) leave(uid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count--
	if s.users[uid]--; s.users[uid] == 0 {
		delete(s.users, uid)
	}
}

// process returns name and executable of a process, or "" if they cannot be read. Use
// them only to inform people and for guesses, since a process can change its name.
func process(pid int32) (command, executable string) {
	if pid <= 0 {
		return "", ""
	}
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
		command = strings.TrimSuffix(string(b), "\n")
	}
	executable, _ = os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return command, executable
}
