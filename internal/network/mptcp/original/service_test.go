package original

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/genetlink/genltest"
	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nlenc"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const groupID = 9

// kernel is a fake kernel with the family: a netlink.Socket. The socket of genltest is not
// enough, because it joins no groups and does not wait.
type kernel struct {
	family genetlink.Family
	refuse unix.Errno // what is said to everything; 0: yes

	mu      sync.Mutex
	sent    []netlink.Message // all but look-ups of the family
	joined  []uint32
	arrived chan received
	ended   chan struct{} // closed by a deadline
	once    sync.Once
}

type received struct {
	messages []netlink.Message
	err      error
}

func newKernel(family uint16) *kernel {
	return &kernel{
		family: genetlink.Family{
			ID: family, Version: version, Name: familyName, Groups: []genetlink.MulticastGroup{{ID: groupID, Name: groupName}},
		},
		arrived: make(chan received, 32), ended: make(chan struct{}),
	}
}

// open opens a Service that ends with the test.
func (k *kernel) open(t *testing.T, p Policy) *Service {
	t.Helper()
	s, err := open(k.dial(), p, ownerOf, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// These are the users who own the sockets of the test. Nobody knows the owner of the socket
// gone.
const (
	user = 1000
	gone = 4711
)

func ownerOf(inode uint64) (uint32, error) {
	if inode == gone {
		return 0, os.ErrNotExist
	}
	return user, nil
}

func (k *kernel) dial() *genetlink.Conn { return genetlink.NewConn(netlink.NewConn(k, 4711)) }

// event puts a message of the family into the socket.
func (k *kernel) event(t *testing.T, typ netlink.HeaderType, command uint8, data []byte) {
	t.Helper()
	b, err := message(command, data).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	k.arrived <- received{messages: []netlink.Message{{Header: netlink.Header{Type: typ}, Data: b}}}
}

func (k *kernel) ask(t *testing.T, f flow) {
	t.Helper()
	k.event(t, netlink.HeaderType(k.family.ID), cmdNewFlow, attributes(t, f, 0, nil))
}

// accepted returns the flows that were accepted since the last call.
func (k *kernel) accepted(t *testing.T) (list []flow) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range k.sent {
		var gm genetlink.Message
		if err := gm.UnmarshalBinary(m.Data); err != nil {
			t.Fatal(err)
		}
		if gm.Header.Command != cmdNewFlow {
			continue
		}
		f, err := decodeFlow(gm.Data)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, f)
	}
	k.sent = nil
	return list
}

func (k *kernel) check(t *testing.T, want ...flow) {
	t.Helper()
	if diff := cmp.Diff(want, k.accepted(t), comparer, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("accepted (-want +got)\n%s", diff)
	}
}

// The methods below make it a netlink.Socket.

func (k *kernel) Close() error { return nil }

func (k *kernel) SendMessages(list []netlink.Message) error {
	var errs []error
	for _, m := range list {
		errs = append(errs, k.Send(m))
	}
	return errors.Join(errs...)
}

func (k *kernel) Send(m netlink.Message) error {
	answer := genltest.ServeFamily(k.family, func(_ genetlink.Message, nm netlink.Message) ([]genetlink.Message, error) {
		k.mu.Lock()
		k.sent = append(k.sent, nm)
		k.mu.Unlock()
		k.acknowledge(nm, k.refuse)
		return nil, nil
	})
	var gm genetlink.Message
	if err := gm.UnmarshalBinary(m.Data); err != nil {
		return err
	}
	list, err := answer(gm, m)
	if err != nil { // a family of another name
		k.acknowledge(m, unix.ENOENT)
	}
	var out []netlink.Message
	for _, a := range list {
		b, err := a.MarshalBinary()
		if err != nil {
			return err
		}
		out = append(out, netlink.Message{Header: netlink.Header{Type: m.Header.Type, Sequence: m.Header.Sequence, PID: m.Header.PID}, Data: b})
	}
	if out != nil {
		k.arrived <- received{messages: out}
	}
	return nil
}

func (k *kernel) acknowledge(m netlink.Message, errno unix.Errno) {
	h := netlink.Header{Type: netlink.Error, Sequence: m.Header.Sequence, PID: m.Header.PID}
	k.arrived <- received{messages: []netlink.Message{{Header: h, Data: append(nlenc.Int32Bytes(-int32(errno)), make([]byte, 16)...)}}}
}

func (k *kernel) Receive() ([]netlink.Message, error) {
	select {
	case r := <-k.arrived:
		return r.messages, r.err
	default:
	}
	select {
	case r := <-k.arrived:
		return r.messages, r.err
	case <-k.ended:
		return nil, os.ErrDeadlineExceeded
	}
}

func (k *kernel) ReceiveIter() iter.Seq2[netlink.Message, error] {
	return func(yield func(netlink.Message, error) bool) {
		list, err := k.Receive()
		if err != nil {
			yield(netlink.Message{}, err)
			return
		}
		for _, m := range list {
			if !yield(m, nil) {
				return
			}
		}
	}
}

func (k *kernel) JoinGroup(id uint32) error  { k.joined = append(k.joined, id); return nil }
func (k *kernel) LeaveGroup(id uint32) error { return fmt.Errorf("left group %d", id) }

func (k *kernel) SetReadDeadline(time.Time) error {
	k.once.Do(func() { close(k.ended) })
	return nil
}
func (k *kernel) SetDeadline(time.Time) error      { return io.ErrClosedPipe }
func (k *kernel) SetWriteDeadline(time.Time) error { return io.ErrClosedPipe }

// chooser is a policy that wants subflows from one address.
type chooser struct {
	mu     sync.Mutex
	want   netip.Addr
	backup bool
	err    error
	known  map[uint64]mam.Record
	asked  []mam.MultipathConn
}

func (c *chooser) ChooseSubflows(conn mam.MultipathConn, _ time.Time) ([]policy.Subflow, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, conn)
	if c.err != nil {
		return nil, c.err
	}
	other := &policy.Prefix{Addrs: []netip.Addr{netip.MustParseAddr("10.9.9.9")}}
	list := []policy.Subflow{{Prefix: other, Remote: conn.Remote}}
	if c.want.IsValid() {
		list = append(list, policy.Subflow{Prefix: &policy.Prefix{Addrs: []netip.Addr{c.want}}, Remote: conn.Remotes[0], Backup: c.backup})
	}
	return list, nil
}

func (c *chooser) DecisionByInode(inode uint64, uid uint32) (mam.Record, bool) {
	rec, ok := c.known[inode]
	return rec, ok && rec.App.UID == uid
}

// run lets a Service work until the test ends, in a bubble.
func run(t *testing.T, s *Service) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
}

func TestService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKernel(28)
		wlan := &policy.Prefix{Addrs: []netip.Addr{netip.MustParseAddr("10.7.0.2")}}
		p := &chooser{want: four.local, known: map[uint64]mam.Record{four.inode: {App: policy.App{UID: user}, Host: "host.test", Decision: policy.Decision{Prefix: wlan}}}}
		s := k.open(t, p)
		// These are the first messages to the kernel.
		var gm genetlink.Message
		if len(k.sent) != 1 || gm.UnmarshalBinary(k.sent[0].Data) != nil {
			t.Fatalf("sent %v", k.sent)
		}
		hello := genetlink.Message{Header: genetlink.Header{Command: 1, Version: 1}, Data: []byte("\x09\x00\x01\x00init\x00\x00\x00\x00")}
		if diff := cmp.Diff(hello, gm); diff != "" {
			t.Errorf("to begin with (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]uint32{groupID}, k.joined); diff != "" {
			t.Errorf("groups (-want +got)\n%s", diff)
		}
		run(t, s)

		k.ask(t, four)
		synctest.Wait()
		k.check(t, four)
		remote := netip.AddrPortFrom(four.remote, four.remotePort)
		rec := p.known[four.inode]
		want := []mam.MultipathConn{{Local: netip.MustParseAddrPort("10.7.0.2:0"), Remote: remote, Remotes: []netip.AddrPort{remote}, User: user, UserKnown: true, Decision: &rec}}
		if diff := cmp.Diff(want, p.asked, comparer, cmpopts.EquateComparable(policy.PrefixID{}, mam.Record{}.Intents, mam.Decider{}), cmpopts.IgnoreTypes(netip.Prefix{})); diff != "" {
			t.Errorf("asked (-want +got)\n%s", diff)
		}

		// Another address, of a connection that nobody has asked about, is refused. Then
		// the policy changes its mind, and wants it after all.
		other := six
		other.inode, other.localPrio = 1, 0
		k.ask(t, other)
		synctest.Wait()
		k.check(t)
		if last := p.asked[len(p.asked)-1]; last.Decision != nil || last.Local.IsValid() {
			t.Errorf("asked %+v", last)
		}
		s.Changed(time.Now())
		k.check(t)
		p.want, p.backup = other.local, true
		s.Changed(time.Now())
		other.localPrio = 1
		k.check(t, other)
		// One change is enough.
		s.Changed(time.Now())
		k.check(t)
		// A policy that cannot be asked vetoes.
		p.err = errors.New("out of service")
		k.ask(t, six)
		synctest.Wait()
		k.check(t)
	})
}

// A connection gets a decision, and the ways that go with it, only if the kernel says to
// whom its socket belongs. Otherwise whoever asks for a decision could name the socket of
// somebody else.
func TestOwnerOfSocket(t *testing.T) {
	k := newKernel(28)
	rec := mam.Record{App: policy.App{UID: user + 1}, Host: "host.test"}
	p := &chooser{want: four.local, known: map[uint64]mam.Record{four.inode: rec, gone: rec}}
	s := k.open(t, p)
	for _, inode := range []uint64{four.inode, gone} {
		f := four
		f.inode = inode
		s.decide(f, time.Time{})
		if c := p.asked[len(p.asked)-1]; c.Decision != nil || c.UserKnown != (inode != gone) || c.Local.IsValid() {
			t.Errorf("inode %d: asked %+v", inode, c)
		}
	}
}

// Any other message changes nothing, and the service goes on.
func TestNoise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKernel(28)
		s := k.open(t, &chooser{want: four.local})
		run(t, s)
		k.refuse = unix.EINVAL
		k.ask(t, four) // refused in the end
		own := netlink.HeaderType(k.family.ID)
		k.event(t, own, 3, nil)
		k.event(t, own, cmdNewFlow, attributes(t, four, attrToken, nil))
		k.event(t, own, cmdNewFlow, []byte{1})
		k.event(t, own+1, cmdNewFlow, attributes(t, four, 0, nil))
		k.event(t, netlink.Error, cmdNewFlow, attributes(t, four, 0, nil))
		k.arrived <- received{messages: []netlink.Message{{Header: netlink.Header{Type: own}, Data: []byte{2}}}}
		k.arrived <- received{err: os.NewSyscallError("recvmsg", unix.ENOBUFS)}
		synctest.Wait()
		k.check(t, four)
		// Both of two messages in one datagram count.
		b, err := message(cmdNewFlow, attributes(t, four, 0, nil)).MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		one := netlink.Message{Header: netlink.Header{Type: own}, Data: b}
		k.arrived <- received{messages: []netlink.Message{one, one}}
		synctest.Wait()
		k.check(t, four, four)
	})
}

// A socket that fails ends the service, and does not keep the processor busy.
func TestSocketFails(t *testing.T) {
	k := newKernel(28)
	s := k.open(t, &chooser{})
	k.arrived <- received{err: os.NewSyscallError("recvmsg", unix.EBADF)}
	if err := s.Run(t.Context()); !errors.Is(err, unix.EBADF) {
		t.Errorf("got %v", err)
	}
}

// The memory for later questions is bounded.
func TestRefusedAreBounded(t *testing.T) {
	k := newKernel(28)
	p := &chooser{}
	s := k.open(t, p)
	f := four
	for i := range maxRefused + 10 {
		f.token = uint32(i)
		s.decide(f, time.Time{})
		s.decide(f, time.Time{}) // asked again
	}
	if n := len(s.refused); n != maxRefused || s.refused[0].token != 10 {
		t.Errorf("%d remembered, from %d", n, s.refused[0].token)
	}
}

func TestOpen(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*kernel)
		is   error
	}{
		{"no family", func(k *kernel) { k.family.Name = "mptcp_pm" }, mptcp.ErrUnsupported},
		{"no group", func(k *kernel) { k.family.Groups = nil }, mptcp.ErrUnsupported},
		{"refused", func(k *kernel) { k.refuse = unix.EPERM }, unix.EPERM},
	} {
		k := newKernel(28)
		tt.edit(k)
		if _, err := open(k.dial(), &chooser{}, ownerOf, slog.New(slog.DiscardHandler)); !errors.Is(err, tt.is) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if len(k.joined) > 0 {
			t.Errorf("%s: joined %v", tt.name, k.joined)
		}
	}
}

// The kernel that runs the tests is not the kernel of the original.
func TestThisKernel(t *testing.T) {
	s, err := Open(&chooser{}, slog.New(slog.DiscardHandler))
	if err == nil {
		_ = s.Close()
		t.Skip("this kernel has the family: needs one without")
	}
	if !errors.Is(err, mptcp.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}
