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
	// maxClients bounds the connections that are served; one user has half of what
	// there may be, but for root. Each costs one descriptor and some 10 kB.
	maxClients = 16384
	// What descriptors and memory allow is less on a small host. A client takes a
	// descriptor, and two more while a name is looked up for it; otherFiles are for all
	// else, at most half of all. A hostile client takes up to clientMemory; a quarter of
	// the memory and otherMemory are for all else.
	filesOfClient = 3
	otherFiles    = 256
	clientMemory  = 64 << 10
	otherMemory   = 32 << 20
	// So many clients are served, however low the limits are.
	leastClients = 8
	// writeTimeout is how long a client may take to read its answer, which fits
	// the socket's buffer, before it is dropped.
	writeTimeout = 10 * time.Second
	// acceptPause is the wait after the process ran out of descriptors.
	acceptPause = 50 * time.Millisecond
	// refusalPause is the time between two messages about refused clients, of
	// which a user can cause any number.
	refusalPause = time.Minute
)

// Server serves the clients of one Manager on any number of sockets.
type Server struct {
	m    *Manager
	most int // clients

	mu    sync.Mutex
	count int
	users map[uint32]int

	refused     int // since the last message about it
	refusedTold time.Time
}

// NewServer makes a Server, for as many clients as the process's limits of descriptors
// and memory allow.
func NewServer(m *Manager) *Server {
	return &Server{m: m, most: affordable(limits.Files(), min(limits.Memory(), limits.Host()/2)), users: map[uint32]int{}}
}

// affordable is how many clients numbers of descriptors and bytes allow.
func affordable(files uint64, memory int64) int {
	files = min(files, 1<<30)
	byFiles := int(files-min(otherFiles, files/2)) / filesOfClient
	byMemory := int(min((memory-memory/4-otherMemory)/clientMemory, maxClients))
	return max(leastClients, min(maxClients, byFiles, byMemory))
}

// Clients tells how many connections are being served.
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

// admit serves a new connection counted in serving, if it is within the limits.
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

// tellRefused logs that a client was refused, now and then.
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

// process looks up name and executable of a process; "" where that is not
// possible. Both are for people and rules of thumb: a process can change its name.
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
