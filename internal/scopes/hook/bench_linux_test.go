package hook

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/process/cgroup"
	"github.com/socket-intents/mamma/internal/testing/groupbed"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// BenchmarkConnect connects datagram sockets. They send nothing, so that little else is
// measured.
func BenchmarkConnect(b *testing.B) {
	to := &unix.SockaddrInet4{Addr: testbed.ServiceAddr4.As4(), Port: 9}
	newTurns(b, false).run(200, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return errors.Join(unix.Connect(fd, to), unix.Close(fd))
	})
}

// BenchmarkProgram reports how long the kernel says that the program runs at a connect, which does not
// depend on how long the rest of the call takes. What it says of a program that does nothing is taken
// off.
func BenchmarkProgram(b *testing.B) {
	at := newTurns(b, false)
	empty, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.CGroupSockAddr, AttachType: ebpf.AttachCGroupInet4Connect, License: "BSD",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer empty.Close() //nolint:errcheck // only closed
	l, err := link.AttachCgroup(link.CgroupOptions{Path: at.root.Path, Attach: ebpf.AttachCGroupInet4Connect, Program: empty})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // only closed
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Skip("needs the kernel's count of how long programs run: ", err)
	}
	defer stats.Close() //nolint:errcheck // only closed
	to := &unix.SockaddrInet4{Addr: testbed.ServiceAddr4.As4(), Port: 9}
	took := make([][]float64, len(turn))
	err = at.bed.Client.Do(func() error {
		for round := 0; b.Loop(); round++ {
			for j := range len(turn) - 1 {
				i := 1 + (j+round)%(len(turn)-1)
				if err := at.move(i); err != nil {
					return err
				}
				ours, errOurs := at.table.programs["connect4"].Stats()
				none, errNone := empty.Stats()
				if err := errors.Join(errOurs, errNone); err != nil {
					return err
				}
				for range 1000 {
					fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
					if err != nil {
						return err
					}
					if err := errors.Join(unix.Connect(fd, to), unix.Close(fd)); err != nil {
						return err
					}
				}
				took[i] = append(took[i], perRun(at.table.programs["connect4"], ours)-perRun(empty, none))
			}
		}
		return at.move(0)
	})
	if err != nil {
		b.Fatal(err)
	}
	for i, list := range took {
		if i > 0 {
			slices.Sort(list)
			b.ReportMetric(list[len(list)/2], turn[i]+"-ns")
		}
	}
	b.ReportMetric(0, "ns/op") // of a round: it says nothing
}

// perRun is how long a program has run each time since before, in nanoseconds.
func perRun(p *ebpf.Program, before *ebpf.ProgramStats) float64 {
	now, err := p.Stats()
	if err != nil || now.RunCount == before.RunCount {
		return 0
	}
	return float64(now.Runtime-before.Runtime) / float64(now.RunCount-before.RunCount)
}

// BenchmarkSend sends datagrams by a socket that is not connected, to a network that drops
// them. This is the only bulk transfer that passes a hook with each call.
func BenchmarkSend(b *testing.B) {
	to := &unix.SockaddrInet4{Addr: testbed.ServiceAddr4.As4(), Port: 9}
	for _, bb := range []struct {
		name    string
		segment int // 0: each call sends one datagram
	}{{"single", 0}, {"segmented", 1200}} {
		b.Run(bb.name, func(b *testing.B) {
			turns, data := newTurns(b, false), make([]byte, 1200)
			fd := -1
			turns.before = func() (err error) { // programs look at the group in which the socket was made
				if fd >= 0 {
					_ = unix.Close(fd)
				}
				if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err == nil && bb.segment > 0 {
					data = make([]byte, 40*bb.segment)
					err = unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, bb.segment)
				}
				return err
			}
			turns.run(200, func() error { return unix.Sendto(fd, data, 0, to) })
			_ = unix.Close(fd)
		})
	}
}

// BenchmarkBulk sends by TCP. "measured" is with the program that measures connections, and
// "placed" without it. The ratios compare the throughput with that of nothing attached, in the same
// run.
func BenchmarkBulk(b *testing.B) {
	for _, bb := range []struct {
		name    string
		measure bool
	}{{"placed", false}, {"measured", true}} {
		b.Run(bb.name, func(b *testing.B) {
			turns := newTurns(b, bb.measure)
			to := sink(b, turns.bed.Service.Namespace, testbed.ServiceAddr4.String()+":9")
			data := make([]byte, 1<<20)
			var c *net.TCPConn
			turns.before = func() (err error) {
				if c != nil {
					_ = c.Close()
				}
				c, err = net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(to))
				return err
			}
			const size = 16 // MiB: many short rounds differ less in their median than few long ones
			turns.run(size, func() error { _, err := c.Write(data); return err })
			_ = c.Close()
		})
	}
}

// BenchmarkShort connects by TCP and closes the connection at once, so that much of the time is
// spent at the hooks of beginning and end.
func BenchmarkShort(b *testing.B) {
	for _, bb := range []struct {
		name    string
		measure bool
	}{{"placed", false}, {"measured", true}} {
		b.Run(bb.name, func(b *testing.B) {
			turns := newTurns(b, bb.measure)
			to := net.TCPAddrFromAddrPort(sink(b, turns.bed.Service.Namespace, testbed.ServiceAddr4.String()+":9"))
			turns.run(100, func() error {
				c, err := net.DialTCP("tcp4", nil, to)
				if err != nil {
					return err
				}
				return errors.Join(c.SetLinger(0), c.Close())
			})
		})
	}
}

// BenchmarkFlows reads the map of measured connections: an empty one, and one with many.
func BenchmarkFlows(b *testing.B) {
	t, err := Load()
	if err != nil {
		b.Skip("needs BPF programs of control groups: ", err)
	}
	defer t.Close()
	for _, n := range []int{0, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for i := range n {
				if err := put(t.maps["flows"], groupKey(uint64(i+1)), make([]byte, flowSize)); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				found := 0
				if err := t.Flows(func(*Flow) { found++ }); err != nil || found != n {
					b.Fatal(found, err)
				}
			}
		})
	}
}

// turns does the same with nothing attached, outside of all scopes, in a scope, and in a
// scope with rules of all kinds, in turns. Each figure can be compared with the others of the
// run, whatever else the machine does meanwhile.
type turns struct {
	b      *testing.B
	bed    *testbed.Bed
	groups []string // by the index of turn
	table  *Table
	root   *groupbed.Group
	before func() error
}

// turn is where the connections of a turn are made. "below" is in a control group some levels below
// that of "rules", which the table does not know.
var turn = []string{"without", "outside", "inside", "rules", "below"}

// benchRules has rules that fit each connection, by port, destination and command. All of
// them are among others.
func benchRules() *Rules {
	const port, network, command = 1, 2, 4
	r := &Rules{
		Ports:    []PortFits{{0, 0, network | command}, {9, 16, port | network | command}},
		Networks: []NetworkFits{{netip.MustParsePrefix("0.0.0.0/0"), port | command}, {netip.MustParsePrefix("::/0"), port | command}},
		Commands: []CommandFits{{"", port | network | command}},
		Variants: []VariantFits{{port | network | command, 1}},
	}
	for i := range 32 {
		r.Ports = append(r.Ports, PortFits{uint16(1000 + i), 16, command})
		r.Networks = append(r.Networks, NetworkFits{netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 32), command})
		r.Commands = append(r.Commands, CommandFits{fmt.Sprint("command", i), port})
	}
	r.Networks = append(r.Networks, NetworkFits{netip.PrefixFrom(testbed.ServiceAddr4, 24).Masked(), port | network | command})
	return r
}

func newTurns(b *testing.B, measure bool) *turns {
	b.Helper()
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	mine, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		b.Fatal(err)
	}
	mount, err := cgroup.Mount()
	if err != nil {
		b.Skip("needs cgroup2: ", err)
	}
	at := &turns{b: b, before: func() error { return nil }}
	for line := range strings.Lines(string(mine)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			at.groups = append(at.groups, mount+path)
		}
	}
	root := groupbed.New(b)
	b.Cleanup(func() { _ = at.move(0) })
	at.bed = testbed.ForTest(b, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0", SourceRule: true}, {Name: "wwan0", SourceRule: true}}})
	var t *Table
	if err := at.bed.Client.Do(func() (err error) { t, err = Load(); return err }); err != nil {
		b.Skip("needs BPF programs of control groups: ", err)
	}
	b.Cleanup(t.Close)
	a, err := t.Attach(root.Path, "", measure)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(a.Close)
	go func() { // as the daemon does
		for err := error(nil); err == nil || errors.Is(err, ErrEvent); {
			_, err = t.Read()
		}
	}()
	b.Cleanup(t.Stop)
	rules, other := benchRules(), at.bed.Networks[1]
	errs := []error{t.selfless(), t.SetRules(2, rules)}
	for i, scope := range []uint32{0, 1, 2} {
		g, class, with := root.Sub(turn[1+i]), uint32(1+i), map[bool]*Rules{true: rules}[scope == 2]
		at.groups = append(at.groups, g.Path)
		id, err := GroupID(g.Path)
		m := Member{Class: class}
		errs = append(errs, err)
		if scope == 0 {
			errs = append(errs, t.SetGroup(id, class, m.Form()), t.SetMember(m, scope, 0, nil))
		} else {
			errs = append(errs, t.SetWholeGroup(id, scope, 0, with))
		}
		for v := range Variant(2) {
			for _, p := range []Protocol{TCP, UDP} {
				errs = append(errs, t.SetUsual(Usual{Scope: scope, Protocol: p, Variant: v}, Answer{ID: uint64(1 + v), Kind: Place, First: Way{Source: other.Client4, Device: other.Name}}))
			}
		}
	}
	at.groups = append(at.groups, root.Sub("rules/x/y/z").Path)
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	at.table, at.root = t, root
	return at
}

// move moves this process into the group of a turn.
func (at *turns) move(i int) error {
	return os.WriteFile(at.groups[i]+"/cgroup.procs", []byte("0"), 0)
}

// run does something n times for each turn of a round. It reports the medians of the rounds, and
// those of the ratios within rounds: of the time that passed, and of the processor time, which
// other programs do not blur as much.
func (at *turns) run(n int, do func() error) {
	times, used := make([][]time.Duration, len(turn)), make([][]time.Duration, len(turn))
	err := at.bed.Client.Do(func() error {
		for round := 0; at.b.Loop(); round++ {
			for j := range turn {
				i := (j + round) % len(turn) // each one comes first, and after each other one
				if err := errors.Join(at.move(i), at.before()); err != nil {
					return err
				}
				begun, before := time.Now(), processorTime()
				for range n {
					if err := do(); err != nil {
						return err
					}
				}
				times[i] = append(times[i], time.Since(begun))
				used[i] = append(used[i], processorTime()-before)
			}
		}
		return at.move(0)
	})
	if err != nil {
		at.b.Fatal(err)
	}
	for i := range times {
		if i > 0 {
			at.b.ReportMetric(ratio(times[0], times[i]), turn[i]+"/without")
			at.b.ReportMetric(ratio(used[0], used[i]), turn[i]+"/without-cpu")
		}
	}
	for i, list := range times {
		slices.Sort(list)
		at.b.ReportMetric(float64(list[len(list)/2].Nanoseconds())/float64(n), turn[i]+"-ns")
	}
	at.b.ReportMetric(0, "ns/op") // of a round: it says nothing
}

// ratio is the median, over the rounds, of how long something took first as a share of how long it
// took then. Both lists must be in the order of the rounds.
func ratio(first, then []time.Duration) float64 {
	var all []float64
	for i := range first {
		all = append(all, float64(first[i])/float64(then[i]))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// processorTime is what this process has used, in the kernel and outside.
func processorTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // fails for other arguments only
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// selfless makes the programs place the connections of this process, too, for an hour.
func (t *Table) selfless() error {
	if err := t.Hold(3600e9); err != nil {
		return err
	}
	s := make([]byte, settingsSize)
	b, err := t.maps["settings"].LookupBytes(make([]byte, 4))
	if err != nil {
		return err
	}
	copy(s, b)
	copy(s[settingsSelf:], []byte{0, 0, 0, 0})
	return put(t.maps["settings"], make([]byte, 4), s)
}
