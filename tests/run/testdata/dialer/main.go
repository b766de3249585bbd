// Dialer connects in one of several ways and prints the server's answer, which is the
// address that the server saw. It is linked statically and knows nothing of mamma.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1], netip.MustParseAddrPort(os.Args[2]), os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "dialer:", err)
		os.Exit(1)
	}
}

const patience = 30 * time.Second

func run(how string, to netip.AddrPort, rest []string) error {
	switch how {
	case "tcp", "udp":
		c, err := net.Dial(how, to.String())
		return show(c, err)
	case "within": // a time
		limit, err := time.ParseDuration(rest[0])
		if err != nil {
			return err
		}
		c, err := net.DialTimeout("tcp", to.String(), limit)
		return show(c, err)
	case "busy": // with threads that wait in many ways
		keepBusy()
		c, err := net.Dial("tcp", to.String())
		return show(c, err)
	case "together": // some at the same time
		return atOnce(to, rest)
	case "limited": // by SO_SNDTIMEO, and a time
		limit, err := time.ParseDuration(rest[0])
		if err != nil {
			return err
		}
		d := net.Dialer{Timeout: limit, Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				_ = unix.SetsockoptTimeval(int(fd), unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 1000})
			})
		}}
		c, err := d.Dial("tcp", to.String())
		return show(c, err)
	case "from":
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(rest[0])}}
		c, err := d.Dial("tcp", to.String())
		return show(c, err)
	case "listen", "server":
		local := &net.UDPAddr{}
		if how == "server" {
			local.Port, _ = strconv.Atoi(rest[0])
		}
		c, err := net.ListenUDP("udp4", local)
		if err != nil {
			return err
		}
		if _, err := c.WriteToUDPAddrPort([]byte("x"), to); err != nil {
			return err
		}
		return show(c, nil)
	case "many":
		return many(to, rest)
	case "measure":
		return measure(to, rest)
	case "bulk":
		return bulk(to)
	case "maker":
		return maker()
	case "orphan": // what the rest says, by a process whose parent has ended
		return orphan(os.Args[2], rest)
	}
	for _, f := range []func(string, netip.AddrPort, []string) error{odd6, odd} {
		if err := f(how, to, rest); !errors.Is(err, errNoWay) {
			return err
		}
	}
	return raw(how, to, rest)
}

// orphan does what rest says in another process, after the end of this one.
func orphan(to string, rest []string) error {
	const name = "DIALER_ORPHAN"
	if os.Getenv(name) != "" {
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, unix.SIGUSR1)
		parent := os.Getppid()
		_ = os.NewFile(3, "ready").Close()
		for os.Getppid() == parent {
			<-ended // comes as well when only the thread that is the parent has ended
		}
		return run(rest[0], netip.MustParseAddrPort(to), rest[1:])
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), name+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGUSR1}
	ready, told, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{told}
	if err := cmd.Start(); err != nil {
		return err
	}
	_ = told.Close()
	_, err = io.ReadAll(ready)
	return err
}

// keepBusy starts threads that compute, sleep, wait for each other, read what never comes
// and make new threads.
func keepBusy() {
	go func() {
		for n := uint64(1); n != 0; n *= 3 { // an odd number never becomes 0
			continue
		}
	}()
	r, _, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	for range 4 {
		go func() { runtime.LockOSThread(); _ = unix.Nanosleep(&unix.Timespec{Sec: 1000}, nil) }()
		go func() { runtime.LockOSThread(); select {} }()
		go func() { _, _ = unix.Read(int(r.Fd()), make([]byte, 1)) }() // Fd makes it block
	}
	go func() {
		for range time.Tick(time.Millisecond) {
			go func() { runtime.LockOSThread(); runtime.Gosched() }() // the thread ends with it
		}
	}()
}

// atOnce makes a number of connections at the same time.
func atOnce(to netip.AddrPort, rest []string) error {
	n, err := strconv.Atoi(rest[0])
	if err != nil {
		return err
	}
	errs := make(chan error)
	for range n {
		go func() {
			c, err := net.Dial("tcp", to.String())
			errs <- show(c, err)
		}()
	}
	for range n {
		err = errors.Join(err, <-errs)
	}
	return err
}

func show(c net.Conn, err error) error {
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, ok := c.(*net.UDPConn); ok && c.RemoteAddr() != nil {
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err
	}
	_, err = fmt.Print(line)
	return err
}

// raw makes the system calls directly, as C programs do.
func raw(how string, to netip.AddrPort, rest []string) error {
	family, typ := unix.AF_INET, unix.SOCK_STREAM
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	switch how {
	case "mapped":
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	case "sendto", "sendmsg":
		typ = unix.SOCK_DGRAM
	case "protocol":
		typ |= unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	}
	fd, err := unix.Socket(family, typ, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	suffix := ""
	switch how {
	case "sendto":
		err = unix.Sendto(fd, []byte("x"), 0, sa)
	case "sendmsg":
		err = unix.Sendmsg(fd, []byte("x"), nil, sa, 0)
	case "fastopen":
		err = unix.Sendto(fd, []byte("x"), unix.MSG_FASTOPEN, sa)
	case "device":
		if err = unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, rest[0]); err == nil {
			err = unix.Connect(fd, sa)
		}
	case "protocol":
		suffix, err = describe(fd)
		if err == nil {
			if err = unix.Connect(fd, sa); err == unix.EINPROGRESS {
				_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
			}
		}
	case "mapped":
		err = unix.Connect(fd, sa)
	default:
		return fmt.Errorf("unknown way %q", how)
	}
	if err != nil {
		return err
	}
	b := make([]byte, 100)
	n, err := unix.Read(fd, b)
	if err != nil {
		return err
	}
	_, err = fmt.Println(strings.TrimSpace(string(b[:n])) + suffix)
	return err
}

// maker prints to whom a TCP socket belongs for the kernel, and whether it is in the
// network namespace of this process, as a UDP socket is.
func maker() error {
	var cookies [2]uint64
	var st unix.Stat_t
	text := ""
	for i, typ := range []int{unix.SOCK_DGRAM, unix.SOCK_STREAM} {
		fd, err := unix.Socket(unix.AF_INET, typ, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		cookies[i], err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		if err = errors.Join(err, unix.Fstat(fd, &st)); err != nil {
			return err
		}
		protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		if err != nil {
			return err
		}
		text = fmt.Sprint("protocol ", protocol)
	}
	where := "here"
	if cookies[0] != cookies[1] {
		where = "elsewhere"
	}
	_, err := fmt.Printf("uid %d %s %s\n", st.Uid, where, text)
	return err
}

func describe(fd int) (string, error) {
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf(" protocol %d", protocol)
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err == nil && flags&unix.O_NONBLOCK != 0 {
		text += " nonblock"
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC != 0 {
		text += " close-on-exec"
	}
	return text, nil
}

// many makes a number of connections from a number of threads.
func many(to netip.AddrPort, rest []string) error {
	total, _ := strconv.Atoi(rest[0])
	threads, _ := strconv.Atoi(rest[1])
	var mu sync.Mutex
	seen := map[string]int{}
	var failed error
	var wg sync.WaitGroup
	for range threads {
		wg.Go(func() {
			runtime.LockOSThread()
			for range total / threads {
				c, err := net.Dial("tcp", to.String())
				line := ""
				if err == nil {
					line, err = bufio.NewReader(c).ReadString('\n')
					_ = c.Close()
				}
				mu.Lock()
				if err != nil {
					failed = err
				}
				seen[strings.TrimSpace(line)]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for from, n := range seen {
		fmt.Printf("%d from %s\n", n, from)
	}
	return failed
}

// measure makes a number of connections from each of a number of threads, one after the
// other. It prints the median time of connect(2) in microseconds and the number of
// connections in a second. The runtime of Go is not told of the calls: while one takes more
// than 20 us, it would take the thread's processor away, and wake another thread for
// that.
func measure(to netip.AddrPort, rest []string) error {
	total, _ := strconv.Atoi(rest[0])
	threads, _ := strconv.Atoi(rest[1])
	var mu sync.Mutex
	var times []time.Duration
	var failed error
	sa := &unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().As4()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], to.Port())
	runtime.GOMAXPROCS(threads + 1)
	var wg sync.WaitGroup
	begun := time.Now()
	for range threads {
		wg.Go(func() {
			runtime.LockOSThread()
			own := make([]time.Duration, 0, total/threads)
			var err error
			for range total / threads {
				var fd int
				if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != nil {
					break
				}
				t := time.Now()
				if _, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(sa)), unix.SizeofSockaddrInet4); errno != 0 {
					err = errno
				}
				own = append(own, time.Since(t))
				// The connection ends by a reset, which leaves no port in TIME_WAIT.
				_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
				_ = unix.Close(fd)
				if err != nil {
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			times = append(times, own...)
			failed = errors.Join(failed, err)
		})
	}
	wg.Wait()
	took := time.Since(begun)
	if failed != nil {
		return failed
	}
	slices.Sort(times)
	_, err := fmt.Printf("%.1f %.0f\n", float64(times[len(times)/2].Nanoseconds())/1e3, float64(len(times))/took.Seconds())
	return err
}

// bulk reads everything that the server sends, and prints its rate in bits per second.
func bulk(to netip.AddrPort) error {
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		return err
	}
	defer c.Close()
	begun := time.Now()
	n, err := io.Copy(io.Discard, onlyReader{c})
	if err != nil {
		return err
	}
	_, err = fmt.Printf("%.0f\n", float64(n)*8/time.Since(begun).Seconds())
	return err
}

// onlyReader keeps io.Copy from moving the data inside the kernel.
type onlyReader struct{ io.Reader }
