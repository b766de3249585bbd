package original

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// Policy decides about subflows. It is a *mam.Manager.
type Policy interface {
	ChooseSubflows(c mam.MultipathConn, now time.Time) ([]policy.Subflow, error)
	DecisionByInode(inode uint64, uid uint32) (mam.Record, bool)
}

// maxRefused bounds the refused flows that are remembered. The oldest make room,
// because the family does not tell when a connection ends.
const maxRefused = 1024

// Service answers the kernel's questions about subflows.
type Service struct {
	log    *slog.Logger
	policy Policy
	owner  func(inode uint64) (uid uint32, err error)
	conn   *genetlink.Conn
	family uint16

	mu sync.Mutex
	// refused are the flows that the policy did not want, oldest first. They are kept
	// because the policy may want them later (doc/original/daemon.md D26,
	// doc/original/policies.md 17).
	refused []flow
}

// Open tells the kernel that a path manager listens. The error wraps
// mptcp.ErrUnsupported on kernels without the family, which are all but the
// original's.
func Open(p Policy, log *slog.Logger) (*Service, error) {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return nil, fmt.Errorf("open generic netlink: %w", err)
	}
	return open(c, p, mptcp.SocketOwner, log)
}

func open(c *genetlink.Conn, p Policy, owner func(uint64) (uint32, error), log *slog.Logger) (*Service, error) {
	s := &Service{log: log, policy: p, owner: owner, conn: c}
	if err := s.init(); err != nil {
		_ = c.Close()
		return nil, err
	}
	return s, nil
}

func (s *Service) init() error {
	f, err := s.conn.GetFamily(familyName)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("generic netlink family %s: %w", familyName, mptcp.ErrUnsupported)
	}
	if err != nil {
		return fmt.Errorf("look up generic netlink family %s: %w", familyName, err)
	}
	s.family = f.ID
	group := slices.IndexFunc(f.Groups, func(g genetlink.MulticastGroup) bool { return g.Name == groupName })
	if group < 0 {
		return fmt.Errorf("generic netlink family %s has no group %s: %w", familyName, groupName, mptcp.ErrUnsupported)
	}
	ae := netlink.NewAttributeEncoder()
	ae.String(attrText, "init")
	data, err := ae.Encode()
	if err != nil {
		return fmt.Errorf("announce to %s: %w", familyName, err)
	}
	if _, err := s.conn.Execute(message(cmdInit, data), s.family, netlink.Request|netlink.Acknowledge); err != nil {
		return fmt.Errorf("announce to %s: %w", familyName, err)
	}
	if err := s.conn.JoinGroup(f.Groups[group].ID); err != nil {
		return fmt.Errorf("listen to %s: %w", familyName, err)
	}
	s.log.Info("the kernel asks about MPTCP subflows", "family", familyName)
	return nil
}

func message(command uint8, data []byte) genetlink.Message {
	return genetlink.Message{Header: genetlink.Header{Command: command, Version: version}, Data: data}
}

// Close releases the Service. Run must have ended.
func (s *Service) Close() error { return s.conn.Close() }

// Run answers until ctx ends, and then returns nil. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		messages, headers, err := s.conn.Receive()
		call := (*os.SyscallError)(nil)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			s.log.Warn("questions about MPTCP subflows were lost")
			continue
		case errors.As(err, &call), errors.Is(err, os.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("receive from %s: %w", familyName, err)
		case err != nil: // an acceptance came too late, or the message makes no sense
			s.log.Debug("refused by "+familyName, "err", err)
			continue
		}
		for i, m := range messages {
			if headers[i].Header.Type != netlink.HeaderType(s.family) || m.Header.Command != cmdNewFlow {
				continue
			}
			f, err := decodeFlow(m.Data)
			if err != nil {
				s.log.Debug("dropped a message of "+familyName, "err", err)
				continue
			}
			s.decide(f, time.Now())
		}
	}
}

// Changed tells the Service that networks or policy have changed. It asks again about
// the refused flows. It is safe for concurrent use, and waits for nothing but the
// policy.
func (s *Service) Changed(now time.Time) {
	s.mu.Lock()
	again := s.refused
	s.refused = nil
	s.mu.Unlock()
	for _, f := range again {
		s.decide(f, now)
	}
}

// decide asks the policy about a flow, and accepts the flow if the policy wants it.
func (s *Service) decide(f flow, now time.Time) {
	wanted, backup := s.ask(f, now)
	s.mu.Lock()
	same := func(o flow) bool { return o.token == f.token && o.local == f.local && o.remote == f.remote }
	s.refused = slices.DeleteFunc(s.refused, same)
	if !wanted {
		s.refused = append(s.refused, f)
		s.refused = slices.Delete(s.refused, 0, max(0, len(s.refused)-maxRefused))
	}
	s.mu.Unlock()
	s.log.Debug("MPTCP subflow possible", "token", mptcp.Token(f.token), "local", f.local, "remote", f.remote, "accepted", wanted)
	if !wanted {
		return
	}
	if backup {
		f.localPrio = max(f.localPrio, 1)
	}
	if err := s.accept(f); err != nil {
		s.log.Warn("MPTCP subflow not accepted", "err", err)
	}
}

// ask asks the policy about one flow, with the same question as the events of the
// mainline kernel lead to.
func (s *Service) ask(f flow, now time.Time) (wanted, backup bool) {
	remote := netip.AddrPortFrom(f.remote, f.remotePort)
	c := mam.MultipathConn{Remote: remote, Remotes: []netip.AddrPort{remote}}
	uid, err := s.owner(f.inode)
	if err != nil {
		s.log.Debug("nobody is known to own an MPTCP connection", "token", mptcp.Token(f.token), "err", err)
	} else {
		c.User, c.UserKnown = uid, true
		if rec, ok := s.policy.DecisionByInode(f.inode, uid); ok {
			c.Decision = &rec
			if p := rec.Decision.Prefix; p != nil { // the prefix that the first subflow was bound to
				c.Local = netip.AddrPortFrom(p.Addr(), 0)
			}
		}
	}
	chosen, err := s.policy.ChooseSubflows(c, now)
	if err != nil {
		s.log.Warn("MPTCP connection gets no further subflow", "token", mptcp.Token(f.token), "err", err)
	}
	for _, want := range chosen {
		if slices.Contains(want.Prefix.Addrs, f.local) && want.Remote == remote {
			return true, want.Backup
		}
	}
	return false, false
}

// accept asks the kernel to open a flow. If the kernel refuses, Run is told.
func (s *Service) accept(f flow) error {
	data, err := f.encodeAccept()
	if err != nil {
		return err
	}
	if _, err = s.conn.Send(message(cmdNewFlow, data), s.family, netlink.Request|netlink.Acknowledge); err != nil {
		return fmt.Errorf("accept flow from %v to %v: %w", f.local, f.remote, err)
	}
	return nil
}
