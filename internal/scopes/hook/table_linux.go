package hook

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

// Errors of Load, Attach and the methods that write to maps.
var (
	// ErrUnsupported means that the kernel lacks something. ErrRights means that this process
	// lacks a capability.
	ErrUnsupported = errors.New("this kernel cannot place connections by control group")
	ErrRights      = errors.New("CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are needed")
	// ErrFull means that a map has no room for another entry.
	ErrFull = errors.New("there is no room for more")
)

// Table holds the programs, and the maps that they follow. The programs do not run until
// Attach is called. A Table is safe for concurrent use.
type Table struct {
	maps     map[string]*ebpf.Map
	programs map[string]*ebpf.Program
	missing  []string
	ring     *ringbuf.Reader
	can      abilities
	netns    uint64
	// quiet is the time from which a record wakes the reader. Only Read uses it.
	quiet time.Time
	// unmeasured is why connections are not measured; nil: they can be.
	unmeasured error
	// Flows uses these.
	cookies []uint64
	flows   [][flowSize]byte
	flow    Flow
}

// loader loads programs and tries helpers. Tests have loaders that fail.
type loader struct {
	load   func(*ebpf.ProgramSpec) (*ebpf.Program, error)
	helper func(asm.BuiltinFunc) error
}

var kernel = loader{
	load:   func(s *ebpf.ProgramSpec) (*ebpf.Program, error) { return ebpf.NewProgram(s) },
	helper: func(f asm.BuiltinFunc) error { return features.HaveProgramHelper(ebpf.CGroupSockAddr, f) },
}

// Load loads the programs, with empty maps. The error wraps ErrUnsupported if the kernel lacks
// what is needed, and ErrRights if this process lacks a capability.
func Load() (*Table, error) { return load(kernel) }

func load(l loader) (_ *Table, err error) {
	t := &Table{maps: map[string]*ebpf.Map{}, programs: map[string]*ebpf.Program{}}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	if t.netns, err = ownNetns(); err != nil {
		return nil, err
	}
	if _, _, err = ephemeral(); err != nil {
		return nil, err
	}
	for name, spec := range mapSpecs() {
		spec.Name = "mamma_" + name
		if t.maps[name], err = ebpf.NewMap(spec); err != nil {
			return nil, lacking("make map "+name, err)
		}
	}
	t.can = abilities{
		process: l.helper(asm.FnGetCurrentPidTgid) == nil, retval: l.helper(asm.FnSetRetval) == nil, multipath: l.helper(asm.FnSkcToMptcpSock) == nil,
	}
	for _, p := range points {
		prog, err := l.load(program(p, t.can, t.maps))
		if err != nil && t.can.multipath && !p.datagram {
			// A kernel without type information (BTF) has this helper, but refuses its use.
			t.can.multipath = false
			prog, err = l.load(program(p, t.can, t.maps))
		}
		switch {
		case err == nil:
			t.programs[p.name] = prog
		case p.datagram && !errors.Is(err, unix.EPERM):
			t.missing = append(t.missing, p.name)
		default:
			return nil, lacking("load program "+p.name, err)
		}
	}
	if prog, err := l.load(measureProgram(t.maps)); err == nil {
		t.programs[measuring.name] = prog
	} else {
		t.unmeasured = lacking("load program "+measuring.name, err)
	}
	if t.ring, err = ringbuf.NewReader(t.maps["events"]); err != nil {
		return nil, fmt.Errorf("open the ring buffer: %w", err)
	}
	return t, errors.Join(t.Hold(0), t.SetDown(&[MaxNetworks]bool{}))
}

// Missing names the hooks that the kernel lacks, among those that are not strictly needed:
// sendmsg4 and sendmsg6, for datagrams of sockets that are not connected.
func (t *Table) Missing() []string { return t.missing }

// KnowsProcess tells whether the kernel says to which process a connection belongs. If it does
// not, the programs cannot leave the connections of this process alone.
func (t *Table) KnowsProcess() bool { return t.can.process }

// Close closes programs and maps. Attached programs run on, with the maps as they are.
func (t *Table) Close() {
	if t.ring != nil {
		_ = t.ring.Close()
	}
	for _, p := range t.programs {
		_ = p.Close()
	}
	for _, m := range t.maps {
		_ = m.Close() // nil does no harm
	}
}

// Hold declares that the maps are right for the duration d from now on. It also does what Follow
// does.
func (t *Table) Hold(d time.Duration) error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return os.NewSyscallError("clock_gettime", err)
	}
	b := make([]byte, settingsSize)
	binary.NativeEndian.PutUint64(b[settingsNetns:], t.netns)
	binary.NativeEndian.PutUint64(b[settingsDeadline:], uint64(now.Nano()+int64(d)))
	binary.NativeEndian.PutUint32(b[settingsSelf:], uint32(os.Getpid()))
	if id, err := ownGroupID(); err == nil {
		binary.NativeEndian.PutUint64(b[settingsGroup:], id)
	}
	if err := putHost(b); err != nil {
		return err
	}
	return put(t.maps["settings"], make([]byte, 4), b)
}

// Follow looks at what the host's operator may change at any time, and tells the kernel's programs:
// from which ports the kernel chooses (net.ipv4.ip_local_port_range), and whether there is Multipath
// TCP (net.mptcp.enabled).
func (t *Table) Follow() error {
	m := t.maps["settings"]
	old, err := m.LookupBytes(make([]byte, 4))
	if err != nil || len(old) < settingsSize {
		return err
	}
	b := slices.Clone(old)
	if err := putHost(b); err != nil || bytes.Equal(b, old) {
		return err
	}
	return put(m, make([]byte, 4), b)
}

// putHost writes what the host has set into settings.
func putHost(b []byte) error {
	low, high, err := ephemeral()
	if err != nil {
		return err
	}
	binary.NativeEndian.PutUint32(b[settingsLow:], low)
	binary.NativeEndian.PutUint32(b[settingsHigh:], high)
	multipath := uint32(0)
	if multipathEnabled() {
		multipath = 1
	}
	binary.NativeEndian.PutUint32(b[settingsMPTCP:], multipath)
	return nil
}

// SetDown says which networks are down, by their numbers. With one write, all answers whose
// first network is down are followed by their alternates. down[0] does not count.
func (t *Table) SetDown(down *[MaxNetworks]bool) error {
	b := make([]byte, MaxNetworks+1)
	for i := 1; i < MaxNetworks; i++ {
		if down[i] {
			b[i] = 1
		}
	}
	b[noNetwork] = 1
	return put(t.maps["down"], make([]byte, 4), b)
}

// SetGroup sets the class of a control group, and the forms of the members of that class (see
// Forms).
func (t *Table) SetGroup(id uint64, class uint32, forms Forms) error {
	b := make([]byte, groupSize)
	binary.NativeEndian.PutUint64(b[groupID:], id)
	binary.NativeEndian.PutUint32(b[groupClass:], class)
	binary.NativeEndian.PutUint32(b[groupForms:], uint32(forms))
	return put(t.maps["groups"], groupKey(id), b)
}

// SetWholeGroup declares that all processes of a control group belong to a scope, which is not 0.
// This is faster than a class with one member. how and rules are as for SetMember.
func (t *Table) SetWholeGroup(id uint64, scope uint32, how Manner, rules *Rules) error {
	b := make([]byte, groupSize)
	binary.NativeEndian.PutUint64(b[groupID:], id)
	encodeScope(b[groupWhole:], scope, how, rules)
	return put(t.maps["groups"], groupKey(id), b)
}

// DropGroup forgets a control group.
func (t *Table) DropGroup(id uint64) error { return drop(t.maps["groups"], groupKey(id)) }

func groupKey(id uint64) []byte { return binary.NativeEndian.AppendUint64(nil, id) }

// Member selects, within a class of control groups, the processes that belong to a scope.
type Member struct {
	Class   uint32
	User    *uint32 // nil: any
	Command string  // "": any
}

// Forms is the set of forms that the members of a class have.
type Forms uint32

// Form tells which of user and command m names. If several members fit a connection, one that
// names both counts first, then one that names a command, then one that names a user.
func (m *Member) Form() Forms {
	switch {
	case m.User != nil && m.Command != "":
		return formBoth
	case m.Command != "":
		return formCommand
	case m.User != nil:
		return formUser
	}
	return formAny
}

func (m *Member) encode() ([]byte, error) {
	if len(m.Command) >= commandSize || strings.ContainsRune(m.Command, 0) {
		return nil, fmt.Errorf("no command's name has more than %d bytes: %q", commandSize-1, m.Command)
	}
	b := make([]byte, memberSize)
	binary.NativeEndian.PutUint32(b[memberClass:], m.Class)
	user := uint32(anyUser)
	if m.User != nil {
		if *m.User == anyUser {
			return nil, fmt.Errorf("%d is not a user", *m.User)
		}
		user = *m.User
	}
	binary.NativeEndian.PutUint32(b[memberUser:], user)
	copy(b[memberCommand:], m.Command)
	return b, nil
}

// SetMember sets the scope to which a member belongs, or 0 for none. rules are those of the scope, as
// SetRules has been told of them. nil: it has none.
func (t *Table) SetMember(m Member, scope uint32, how Manner, rules *Rules) error {
	k, err := m.encode()
	if err != nil {
		return err
	}
	b := make([]byte, memberValueSize)
	copy(b[memberKey:], k)
	encodeScope(b[memberWhole:], scope, how, rules)
	return put(t.maps["members"], k, b)
}

// encodeScope writes what a value of map "members" says of the scope.
func encodeScope(b []byte, scope uint32, how Manner, rules *Rules) {
	binary.NativeEndian.PutUint32(b[memberScope:], scope)
	binary.NativeEndian.PutUint32(b[memberFlags:], uint32(how|rules.flags()))
	binary.NativeEndian.PutUint64(b[memberOthers:], uint64(rules.others()))
}

// DropMember forgets a member.
func (t *Table) DropMember(m Member) error {
	k, err := m.encode()
	if err != nil {
		return err
	}
	return drop(t.maps["members"], k)
}

// Usual says for which connections of a scope a usual answer is.
type Usual struct {
	Scope    uint32
	Protocol Protocol
	V6       bool
	Variant  Variant
}

func (u *Usual) encode() []byte {
	b := make([]byte, usualSize)
	binary.NativeEndian.PutUint32(b[usualScope:], u.Scope)
	b[usualProtocol], b[usualVariant] = uint8(u.Protocol), uint8(u.Variant)
	if u.V6 {
		b[usualV6] = 1
	}
	return b
}

// SetUsual sets what is done with a scope's connections to destinations that have no answer of
// their own.
func (t *Table) SetUsual(u Usual, a Answer) error {
	if a.Kind == Place && a.First.Source.Is4() == u.V6 {
		return fmt.Errorf("an address of the other family: %v", a.First.Source)
	}
	k, b := u.encode(), make([]byte, answerSize)
	copy(b[answerKey:], k)
	if err := a.encode(b); err != nil {
		return err
	}
	return put(t.maps["usual"], k, b)
}

// DropUsual forgets a usual answer.
func (t *Table) DropUsual(u Usual) error { return drop(t.maps["usual"], u.encode()) }

// SetAnswer sets what is done with connections to one destination.
func (t *Table) SetAnswer(k Key, a Answer) error {
	key, value := make([]byte, keySize), make([]byte, answerSize)
	if err := encodeAnswer(key, value, &k, &a); err != nil {
		return err
	}
	return put(t.maps["answers"], key, value)
}

// encodeAnswer writes a key and a value of map "answers".
func encodeAnswer(key, value []byte, k *Key, a *Answer) error {
	if a.Kind == Place && a.First.Source.Is4() != k.Remote.Addr().Is4() {
		return fmt.Errorf("an address of the other family: %v", a.First.Source)
	}
	k.encode(key)
	copy(value[answerKey:], key)
	return a.encode(value)
}

// SetAnswers is SetAnswer for each of keys and the answer in the same place. It takes less time,
// because there is one system call (since Linux 5.6, and the ring buffer needs 5.8). done is how many
// are set, from the first one, and less than all after an error.
func (t *Table) SetAnswers(keys []Key, answers []Answer) (done int, err error) {
	if len(keys) != len(answers) {
		return 0, fmt.Errorf("%d answers for %d destinations", len(answers), len(keys))
	}
	k, v := make([][keySize]byte, len(keys)), make([][answerSize]byte, len(keys))
	for i := range keys {
		if err = encodeAnswer(k[i][:], v[i][:], &keys[i], &answers[i]); err != nil {
			k, v = k[:i], v[:i]
			break
		}
	}
	if len(k) == 0 {
		return 0, err
	}
	m := t.maps["answers"]
	if _, failed := m.BatchUpdate(k, v, nil); failed == nil {
		return len(k), err
	}
	for i := range k { // after an early failure the kernel does not say that it has set none
		if failed := put(m, k[i][:], v[i][:]); failed != nil {
			return i, failed
		}
	}
	return len(k), err
}

// DropAnswer forgets the answer for a destination.
func (t *Table) DropAnswer(k Key) error {
	b := make([]byte, keySize)
	k.encode(b)
	return drop(t.maps["answers"], b)
}

// MaxAnswers is how many answers for destinations the map can hold.
const MaxAnswers = maxAnswers

// MaxUsual is how many usual answers the map can hold.
const MaxUsual = maxUsual

// MaxAside is how many prefixes with routes of their own the map can hold.
const MaxAside = maxAside

// SetAside declares that the destinations in p have a route of their own, so that no usual
// answer is for them.
func (t *Table) SetAside(p netip.Prefix) error {
	return put(t.maps["aside"], asideKey(p), []byte{1, 0, 0, 1})
}

// DropAside declares that the destinations in p have no route of their own any more.
func (t *Table) DropAside(p netip.Prefix) error { return drop(t.maps["aside"], asideKey(p)) }

func asideKey(p netip.Prefix) []byte {
	b := make([]byte, asideSize)
	binary.NativeEndian.PutUint32(b[asideBits:], uint32(mappedBits(p)))
	putAddr(b[asideAddr:], p.Masked().Addr())
	return b
}

// mappedBits is the length of a prefix when its address is written as IPv6.
func mappedBits(p netip.Prefix) int {
	if p.Addr().Is4() {
		return p.Bits() + 8*(sizeAddr-4)
	}
	return p.Bits()
}

// Lost returns how many records were lost because the ring buffer was full.
func (t *Table) Lost() uint64 {
	b, err := t.maps["lost"].LookupBytes(make([]byte, 4))
	if err != nil || len(b) < 8 {
		return 0
	}
	return binary.NativeEndian.Uint64(b)
}

// Read waits for the next record. After Close and after Stop, the error wraps os.ErrClosed. An
// error that wraps ErrEvent is about this record only. Only one goroutine may call Read.
//
// A record can come wakeEvery after it was written, because of those that follow each other
// faster only the first one wakes Read.
func (t *Table) Read() (Event, error) {
	for {
		var deadline time.Time // none
		if now := time.Now(); now.Before(t.quiet) {
			deadline = now.Add(wakeEvery)
		}
		t.ring.SetDeadline(deadline)
		r, err := t.ring.Read()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue // nothing has come, or Read has to wait longer
		case err != nil:
			return Event{}, err
		}
		t.quiet = time.Now().Add(linger)
		return ParseEvent(r.RawSample)
	}
}

// linger is how long Read goes on to look for records after it has found one. That is much
// longer than wakeEvery, because a program can be interrupted between its look at the clock and
// its record.
const linger = 10 * wakeEvery

// Stop ends the Read that waits, and all later ones. A deadline would not do, because it holds
// for the next Read only.
func (t *Table) Stop() { _ = t.ring.Close() }

func put(m *ebpf.Map, key, value []byte) error {
	err := m.Update(key, value, ebpf.UpdateAny)
	if errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("%s: %w", m, ErrFull)
	}
	return err
}

func drop(m *ebpf.Map, key []byte) error {
	if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

// ownNetns returns the cookie of this process's network namespace.
func ownNetns() (uint64, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	c, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnsupported, os.NewSyscallError("getsockopt SO_NETNS_COOKIE", err))
	}
	return c, nil
}

// ephemeral returns the first and the last port that the kernel gives out by itself (ip(7)).
func ephemeral() (low, high uint32, err error) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Sscan(string(text), &low, &high); err != nil {
		return 0, 0, fmt.Errorf("read ip_local_port_range: %w", err)
	}
	return low, high, nil
}
