package config

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// MaxSize bounds the file in bytes. A block takes about a hundred bytes, so there is
// room for thousands of networks.
const MaxSize = 256 << 10

// DefaultPolicy is the policy if Auto is on and none is named.
const DefaultPolicy = "adaptive"

// OriginalSocket is the path at which programs look that were built with the original's
// library (doc/original/daemon.md 1).
const OriginalSocket = "/tmp/muacc"

// Defaults and bounds of settings.
const (
	// DefaultInterval is the original's measurement tick (doc/original/daemon.md 3).
	DefaultInterval = 100 * time.Millisecond
	// MinInterval is long enough for a pass over thousands of connections, which takes
	// some milliseconds, not to take the whole processor.
	MinInterval = 10 * time.Millisecond
	// MaxInterval is the middle window of the link rates (doc/original/measurement.md
	// 1), because that needs at least one sample.
	MaxInterval = 10 * time.Second
	// DefaultCPU allows for a dump of some hundreds of connections with each measurement.
	DefaultCPU Share = 0.01
	// MinCPU lets a host with a thousand connections read them every ten seconds.
	MinCPU Share = 0.0001
	// DefaultProbeInterval is short enough to find a recovery within seconds.
	DefaultProbeInterval = 5 * time.Second
	// MinProbeInterval is long enough for an answer over a slow network.
	MinProbeInterval = time.Second
	MaxProbeInterval = time.Hour
	// DefaultKeep is the number of decisions kept for people to look at.
	DefaultKeep = 1024
	// MaxKeep bounds the memory for kept decisions. A decision takes some hundred
	// bytes.
	MaxKeep = 100_000
	// DefaultRecordMax has room for some 10 000 to 50 000 recorded decisions, and
	// MinRecordMax for some hundred.
	DefaultRecordMax Bytes = 64e6
	MinRecordMax     Bytes = 1e6
	// maxSocketPath is the length that fits into sun_path with the final NUL (unix(7)).
	maxSocketPath = 107
)

// Config is a validated configuration. The zero value manages nothing. The function
// Auto returns the configuration that is used without a file. A Config must not be
// changed once others read it.
type Config struct {
	// File is the file's name in error messages; "" if there was no file.
	File string
	// Original tells that the file is in the original grammar. Three rules then differ:
	// policies ignore settings that they do not know, a prefix is managed only if its
	// block says so, and later blocks replace earlier ones (see Settings).
	Original bool
	// Warnings are about settings that were accepted but probably not meant.
	Warnings []Diagnostic

	// Policy is the policy to load.
	Policy Policy
	// Blocks are the prefix and interface blocks, in the order in which they were
	// written. Settings tells what they mean for a prefix.
	Blocks []Block
	// Auto manages every global prefix that leads to everywhere, in addition to those
	// that blocks name. If a VPN takes all traffic, it manages only the VPN's.
	Auto bool

	// Socket, ControlSocket and CompatSocket are paths of Unix sockets and
	// CompatFIFO that of a FIFO; "" means the default path for the first two and
	// off for the last two.
	Socket, ControlSocket    string
	CompatSocket, CompatFIFO string
	// CompatAssumed tells that CompatSocket was set because the file is in the original
	// grammar, and not by a setting. It is then no error if the socket cannot be made.
	CompatAssumed bool
	// ControlGroup is the group, name or number, that may read from the control
	// socket; "" means no group beyond the process's own.
	ControlGroup string
	// PolicyPath lists the directories searched for policy plugins; empty means
	// the built-in path.
	PolicyPath []string
	BindDevice BindDevice
	Routing    Routing
	// FarAway are the destinations that the kernel is asked about to find out how
	// "everywhere" is reached. For a family without any, a built-in list is used.
	FarAway []netip.Addr
	// StateDirectory is the directory for files that must survive a restart; "" means
	// the default path.
	StateDirectory string
	// AvoidMetered uses networks that cost something only if no other is left. If the
	// file does not say, it has the value of Auto.
	AvoidMetered bool
	// SystemBus is the path of the bus on which other services tell about the host's
	// networks. "" means the system's bus, and Off that no service is asked.
	SystemBus string
	Probe     Probe
	Log       Log
	Sampling  Sampling
	Logs      Logs
	Metrics   Metrics
	Decisions Decisions
	MPTCP     MPTCP
	// Scopes are in the order written, at most MaxScopes.
	Scopes  []Scope
	Placing Placing

	src    source
	told   map[int]bool // lines whose mistake was reported, so that no second error is needed
	unread bool         // Policy lacks a setting whose mistake was reported
	places map[string]Pos
}

// Place returns where the value of a setting outside of blocks stands, for ErrorAt. It is
// the zero value if the file does not have the setting.
func (c *Config) Place(setting string) Pos { return c.places[setting] }

// Policy is the name of the policy, and its own settings.
type Policy struct {
	// Name is the name as written, or the path of a plugin. "" means that there is no
	// policy: requests are answered without a suggestion.
	Name     string
	Settings []policy.Setting
	// Pos is the position of the name; zero if none was written.
	Pos Pos
}

// Log says what is logged, and how.
type Log struct {
	Level  slog.Level // default: info
	Format LogFormat
}

// Sampling has the settings of measuring.
type Sampling struct {
	Interval time.Duration // between two passes, MinInterval to MaxInterval
	// CPU is the share of one processor that reading the host's connections may take,
	// MinCPU to 1.
	CPU Share
}

// Probe says how and when to test whether a network works.
type Probe struct {
	When   ProbeWhen
	Target ProbeTarget
	// Interval is the time between two probes of the same network, while it is in doubt
	// or always; MinProbeInterval to MaxProbeInterval.
	Interval time.Duration
}

// Logs are the paths of the original's measurement logs
// (doc/original/measurement.md 8); "" means off.
type Logs struct {
	Prefixes, Interfaces string
}

// Metrics says where Prometheus metrics are served over TCP.
type Metrics struct {
	Listen netip.AddrPort // invalid: nowhere
}

// Decisions says what to keep of past decisions.
type Decisions struct {
	Keep int // how many, 0 to MaxKeep
	// Record is the file to which decisions are recorded, together with what the policy
	// saw, for replay; "" means off. The file and an older part beside it together take
	// at most RecordMax, which is at least MinRecordMax.
	Record    string
	RecordMax Bytes
}

// MPTCP has the settings for the subflows of Multipath TCP connections.
type MPTCP struct {
	PathManager PathManager
}

// PathManager says who opens subflows.
type PathManager uint8

// The values of path_manager in the mptcp block.
const (
	PathManagerOff       PathManager = iota // the daemon opens none
	PathManagerKernel                       // the kernel, by endpoints that the daemon keeps up to date
	PathManagerUserspace                    // the daemon, for each connection
)

func (p PathManager) String() string { return nameOf(pathManagers, p) }

// BindDevice says when sockets are bound to the device of the chosen prefix.
type BindDevice uint8

// The values of bind_device.
const (
	BindAuto   BindDevice = iota // if the routing tables would send packets by another interface
	BindAlways                   // with every choice
	BindNever                    // the source address alone, unless other networks are forbidden
)

func (b BindDevice) String() string { return nameOf(bindDevices, b) }

// Routing says who makes the routes that choices need.
type Routing uint8

// The values of routing.
const (
	RoutingLeave  Routing = iota // routes and rules stay as they are
	RoutingManage                // a table and source rules for each network
)

func (r Routing) String() string { return nameOf(routings, r) }

// OnDown says what becomes of established connections on a network that is down.
type OnDown uint8

// The values of on_down.
const (
	OnDownKeep  OnDown = iota // they wait until the network works again, or they time out
	OnDownReset               // they end with an error, so that their programs connect anew
)

func (o OnDown) String() string { return nameOf(onDowns, o) }

// ProbeWhen says when networks are probed.
type ProbeWhen uint8

// The values of when in the probe block.
const (
	ProbeDoubt  ProbeWhen = iota // while something speaks against the network
	ProbeAlways                  // regularly
	ProbeNever
)

func (w ProbeWhen) String() string { return nameOf(probeWhens, w) }

// LogFormat is the form of log lines.
type LogFormat uint8

// The values of format in the log block.
const (
	LogText LogFormat = iota
	LogJSON
)

func (f LogFormat) String() string { return nameOf(logFormats, f) }

// Auto returns the configuration that is used without a file. Every network with a
// default route is managed, by DefaultPolicy.
func Auto() *Config {
	c := defaults()
	c.Auto, c.AvoidMetered = true, true
	c.Policy.Name = DefaultPolicy
	return c
}

func defaults() *Config {
	return &Config{
		Sampling:  Sampling{Interval: DefaultInterval, CPU: DefaultCPU},
		Decisions: Decisions{Keep: DefaultKeep, RecordMax: DefaultRecordMax},
		Probe:     Probe{Interval: DefaultProbeInterval},
		Placing:   Placing{Measure: true},
	}
}

// Load reads and parses the file at path. An error in the file's content is an *Error.
func Load(ctx context.Context, path string) (*Config, error) {
	src, err := ReadFile(ctx, path, MaxSize+1)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(src, path)
}

// Parse parses src, and finds out by itself in which grammar it is written. filename
// appears in errors, which are an *Error. The Config keeps src.
func Parse(src []byte, filename string) (*Config, error) {
	c, report := begin(src, filename)
	if len(src) > MaxSize {
		report.errorf(Pos{}, "larger than %d bytes", MaxSize)
		return nil, report.err()
	}
	closed, open := closeQuotes(src)
	switch {
	case !isOriginal(src) && (len(open) == 0 || !isOriginal(closed)):
		parseHCL(c, report)
	case len(open) == 0 || !parseOriginal(c, report, src):
		c, report = begin(src, filename)
		for _, o := range open {
			report.tell(o.pos, "%s", o.problem)
		}
		parseOriginal(c, report, closed)
	}
	if err := report.err(); err != nil {
		if e := (*Error)(nil); errors.As(err, &e) {
			e.Partial = c
		}
		return nil, err
	}
	switch {
	case c.Policy.Name != "":
	case c.Auto:
		c.Policy.Name = DefaultPolicy
	default:
		report.warnf(Pos{}, "no policy is named: every request will be answered without a suggestion")
	}
	if len(c.Blocks) == 0 && !c.Auto {
		report.warnf(Pos{}, "no network is named: nothing will be managed")
	}
	c.Warnings = report.warnings
	return c, nil
}

// begin returns a configuration of which nothing has been read, and no report about it.
func begin(src []byte, filename string) (*Config, *report) {
	c := defaults()
	c.File = filename
	c.src = source{name: filename, text: src}
	return c, &report{src: c.src}
}

// PolicyConfig returns what the policy is made from. The caller must add the prefixes
// and the seed.
func (c *Config) PolicyConfig() policy.Config {
	pc := policy.Config{Name: c.Policy.Name, Settings: c.Policy.Settings, Lenient: c.Original}
	for _, b := range c.Blocks {
		pc.PrefixSettings = append(pc.PrefixSettings, b.Options...)
	}
	return pc
}
