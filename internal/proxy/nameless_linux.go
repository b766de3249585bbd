package proxy

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/bounded"
	"github.com/socket-intents/mamma/internal/rules"
)

// maxProcText bounds how much is read of a process's own description, and of its
// configuration. A longer text counts as one that cannot be read.
const maxProcText = 1 << 20

// offersBlindly tells whether a process always offers a name and a password, as tsocks
// and connect-proxy do, and has none for the proxy at this address. It looks at the
// process's mapped files, arguments, environment (proc(5)) and configuration, if these
// can be read. If something cannot be read, it may contain a name.
func offersBlindly(pid int, proxy netip.AddrPort) bool {
	looked, err := rules.OpenProcess(pid)
	if err != nil {
		return false
	}
	defer looked.Close()
	p := process{dir: looked.Path(""), proxy: proxy}
	exe := looked.Executable()
	if exe == "" || unix.Stat(p.dir, &p.stat) != nil {
		return false
	}
	switch path.Base(exe) {
	case "connect-proxy", "connect":
		args, ok := p.text("cmdline")
		return ok && !bytes.Contains(args, []byte("@")) && p.readEnvironment() && !p.connectName()
	}
	maps, ok := p.text("maps")
	return ok && bytes.Contains(maps, []byte("/libtsocks.so")) && p.readEnvironment() && !p.tsocksPassword()
}

// process is a process that is looked at.
type process struct {
	dir   string // in /proc
	stat  unix.Stat_t
	proxy netip.AddrPort // the proxy that it has connected to
	env   map[string]string
}

func (p *process) text(name string) ([]byte, bool) {
	f, err := os.Open(filepath.Join(p.dir, name)) //nolint:gosec // the kernel's
	if err != nil {
		return nil, false
	}
	defer func() { _ = f.Close() }()
	b, err := bounded.ReadAll(f, maxProcText)
	return b, err == nil
}

func (p *process) readEnvironment() bool {
	b, ok := p.text("environ")
	p.env = map[string]string{}
	for v := range bytes.SplitSeq(b, []byte{0}) {
		if name, value, ok := strings.Cut(string(v), "="); ok {
			if _, twice := p.env[name]; !twice { // the first value counts, as in getenv(3)
				p.env[name] = value
			}
		}
	}
	return ok
}

// connectName tells whether connect-proxy may have a name for the proxy
// (determine_relay_user and getparam of connect.c).
func (p *process) connectName() bool {
	names := []string{"SOCKS5_USER", "CONNECT_USER"}
	for _, name := range names {
		if _, ok := p.env[name]; ok {
			return true
		}
	}
	sets := func(lines *bufio.Scanner) bool {
		for lines.Scan() {
			if name, value := directive(lines.Text()); slices.Contains(names, name) && value != "" {
				return true
			}
		}
		return false
	}
	return p.states("/etc/connectrc", sets) || p.states(p.atHome(".connectrc"), sets)
}

// tsocksPassword tells whether tsocks may have a password for the proxy (tsocks(8),
// tsocks.conf(5)).
func (p *process) tsocksPassword() bool {
	if _, ok := p.env["TSOCKS_PASSWORD"]; ok {
		return true
	}
	sets := func(lines *bufio.Scanner) bool { return tsocksPassword(lines, p.proxy) }
	if conf := p.env["TSOCKS_CONF_FILE"]; conf != "" {
		return p.states(conf, sets)
	}
	if own := p.atHome(".tsocks.conf"); p.exists(own) {
		return p.states(own, sets)
	}
	return p.states("/etc/tsocks.conf", sets)
}

// tsocksServer is a server that a tsocks.conf declares, by default or for a path.
type tsocksServer struct{ host, port, password string }

// at tells whether the server may be the proxy at this address. The server's host may
// be a name, which is not resolved.
func (s tsocksServer) at(proxy netip.AddrPort) bool {
	port := cmp.Or(s.port, "1080")
	ip, err := netip.ParseAddr(s.host)
	return s.host != "" && port == strconv.Itoa(int(proxy.Port())) && (err != nil || ip == proxy.Addr())
}

// tsocksPassword tells whether the lines contain a password for the proxy.
func tsocksPassword(lines *bufio.Scanner, proxy netip.AddrPort) bool {
	var whole, ofPath tsocksServer
	inPath := false
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		name, value := directive(line)
		to := &whole
		if inPath {
			to = &ofPath
		}
		switch {
		case strings.HasPrefix(name, "path"):
			inPath, ofPath = true, tsocksServer{}
		case name == "}":
			if inPath && ofPath.password != "" && ofPath.at(proxy) {
				return true
			}
			inPath = false
		case strings.EqualFold(name, "server"):
			to.host = value
		case strings.EqualFold(name, "server_port"):
			to.port = value
		case strings.EqualFold(name, "default_pass"):
			to.password = value
		}
	}
	return whole.password != "" && whole.at(proxy)
}

// directive splits a line of the form name = value.
func directive(line string) (name, value string) {
	name, value, _ = strings.Cut(line, "=")
	return strings.TrimSpace(name), strings.TrimSpace(value)
}

// atHome returns a path in the home directory of the process's user, "" if there is
// none. It asks the user database and not the environment, as both programs do.
func (p *process) atHome(name string) string {
	u, err := user.LookupId(strconv.FormatUint(uint64(p.stat.Uid), 10))
	if err != nil || u.HomeDir == "" {
		return ""
	}
	return path.Join(u.HomeDir, name)
}

// file returns the path of a file that the process knows by this name.
func (p *process) file(name string) string {
	if path.IsAbs(name) {
		return filepath.Join(p.dir, "root", name)
	}
	return filepath.Join(p.dir, "cwd", name)
}

func (p *process) exists(name string) bool {
	if name == "" {
		return false
	}
	_, err := os.Stat(p.file(name))
	return err == nil
}

// states tells whether a configuration file contains what sets looks for. A missing
// file does not. A file that cannot be read may.
func (p *process) states(file string, sets func(*bufio.Scanner) bool) bool {
	if file == "" {
		return false
	}
	f, err := p.open(file)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(bounded.NewReader(f, maxProcText))
	return sets(lines) || lines.Err() != nil
}

var errNotTheirs = errors.New("not a file that the process may read")

// open opens a file for reading, if the process could read it itself, because the
// process's user names the file. It opens only regular files, because opening a device
// may have an effect.
func (p *process) open(name string) (*os.File, error) {
	fd, err := unix.Open(p.file(name), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	var file unix.Stat_t
	if err := unix.Fstat(fd, &file); err != nil {
		return nil, err
	}
	theirs := file.Uid == p.stat.Uid && file.Mode&unix.S_IRUSR != 0 || file.Mode&unix.S_IROTH != 0 || p.stat.Uid == 0
	if file.Mode&unix.S_IFMT != unix.S_IFREG || !theirs {
		return nil, errNotTheirs
	}
	return bounded.Open(filepath.Join("/proc/self/fd", strconv.Itoa(fd)))
}
