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

// MaxSize is the size in bytes of the largest file that is read. A block takes
// about a hundred bytes, so this is thousands of networks.
const MaxSize = 256 << 10

// DefaultPolicy is the policy where nothing names one and Auto is on.
const DefaultPolicy = "threshold"

// OriginalSocket is where programs look that were built against the library of
// the original (doc/original/daemon.md 1).
const OriginalSocket = "/tmp/muacc"

// Defaults and bounds of settings.
const (
	// DefaultInterval is the original's measurement tick (doc/original/daemon.md 3).
	DefaultInterval = 100 * time.Millisecond
	// MinInterval keeps a pass over thousands of connections, some milliseconds,
	// from taking the whole processor.
	MinInterval = 10 * time.Millisecond
	// MaxInterval is the middle window of the link rates (doc/original/measurement.md
	// 1), which needs one sample at least.
	MaxInterval = 10 * time.Second
	// DefaultProbeInterval finds a recovery within seconds.
	DefaultProbeInterval = 5 * time.Second
	// MinProbeInterval leaves time for an answer over a slow network.
	MinProbeInterval = time.Second
	MaxProbeInterval = time.Hour
	// DefaultKeep is the number of decisions kept for people to look at.
	DefaultKeep = 1024
	// MaxKeep bounds their memory: a decision takes some hundred bytes.
	MaxKeep = 100_000
	// DefaultRecordMax holds some 10 000 to 50 000 recorded decisions, and
	// MinRecordMax some hundred.
	DefaultRecordMax Bytes = 64e6
	MinRecordMax     Bytes = 1e6
	// maxSocketPath is what fits into sun_path with its final NUL (unix(7)).
	maxSocketPath = 107
)

// Config is a validated configuration. The zero value manages nothing; Auto
// gives the one that is used without a file. Who reads it must not change it.
type Config struct {
	// File is the name that errors show, "" if there was no file.
	File string
	// Original tells that the file is in the original grammar. Policies then
	// ignore settings that they do not know, a prefix is managed only if its
	// block says so, and later blocks replace earlier ones (see Settings).
	Original bool
	// Warnings are about what was accepted but probably not meant.
	Warnings []Diagnostic

	// Policy is the policy to load.
	Policy Policy
	// Blocks are the prefix and interface blocks in the order written. Use
	// Settings to learn what they mean for a prefix.
	Blocks []Block
	// Auto manages every global prefix that leads to everywhere, besides those that blocks
	// name; where a VPN takes all traffic, the VPN's only.
	Auto bool

	// Socket, ControlSocket and CompatSocket are paths of Unix sockets and
	// CompatFIFO that of a FIFO; "" means the default path for the first two and
	// off for the last two.
	Socket, ControlSocket    string
	CompatSocket, CompatFIFO string
	// CompatAssumed tells that CompatSocket is OriginalSocket because the file is
	// in the original grammar, not because it says so. What stands in the way
	// there is no error then.
	CompatAssumed bool
	// ControlGroup is the group, name or number, that may read from the control
	// socket; "" means no group beyond the process's own.
	ControlGroup string
	// PolicyPath lists the directories searched for policy plugins; empty means
	// the built-in path.
	PolicyPath []string
	BindDevice BindDevice
	Routing    Routing
	// FarAway are the destinations that the kernel is asked about to learn how
	// everywhere is reached; of a family without any, a built-in list is used.
	FarAway []netip.Addr
	// StateDirectory is where what must survive a restart is kept; "" means the
	// default path.
	StateDirectory string
	// AvoidMetered keeps networks that cost something for when no other is left. Where the
	// file does not say, it is Auto.
	AvoidMetered bool
	// SystemBus is the socket of the bus where other services tell of the host's networks;
	// "" is the system's, Off is that none is asked.
	SystemBus string
	Probe     Probe
	Log       Log
	Sampling  Sampling
	Logs      Logs
	Metrics   Metrics
	Decisions Decisions
	MPTCP     MPTCP

	src    source
	told   map[int]bool // lines about which nothing more is to be said
	unread bool         // a setting of the policy is missing from Policy, for a mistake that was reported
}

// Policy names the policy and holds the settings that are its own.
type Policy struct {
	// Name is as written: a name, or the path of a plugin. "" means that there
	// is no policy, and requests are answered without a suggestion.
	Name     string
	Settings []policy.Setting
	// Pos is where the name stands; zero if it was not written.
	Pos Pos
}

// Log says what is logged, and how.
type Log struct {
	Level  slog.Level // default: info
	Format LogFormat
}

// Sampling is about measuring.
type Sampling struct {
	Interval time.Duration // between two passes, MinInterval to MaxInterval
}

// Probe says how and when a network is asked whether it works.
type Probe struct {
	When   ProbeWhen
	Target ProbeTarget
	// Interval is between two probes of the same network while it is doubted,
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

// Decisions says what is kept of past decisions.
type Decisions struct {
	Keep int // how many, 0 to MaxKeep
	// Record is the file to which decisions are recorded with what the policy
	// saw, for replay; "" means off. Together with an older part beside it, it
	// takes at most RecordMax, at least MinRecordMax.
	Record    string
	RecordMax Bytes
}

// MPTCP is about the subflows of Multipath TCP connections.
type MPTCP struct {
	PathManager PathManager
}

// PathManager says who opens subflows.
type PathManager uint8

// The values of path_manager in the mptcp block.
const (
	PathManagerOff       PathManager = iota // not this daemon
	PathManagerKernel                       // the kernel, by endpoints that the daemon keeps
	PathManagerUserspace                    // the daemon, connection by connection
)

func (p PathManager) String() string { return nameOf(pathManagers, p) }

// BindDevice says when sockets are bound to the device of the chosen prefix.
type BindDevice uint8

// The values of bind_device.
const (
	BindAuto   BindDevice = iota // where the routing tables would send packets by another interface
	BindAlways                   // with every choice
	BindNever                    // the source address alone
)

func (b BindDevice) String() string { return nameOf(bindDevices, b) }

// Routing says who sees to the routes that choices need.
type Routing uint8

// The values of routing.
const (
	RoutingLeave  Routing = iota // routes and rules stay as they are
	RoutingManage                // a table and source rules for each network
)

func (r Routing) String() string { return nameOf(routings, r) }

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

// Auto is the configuration that is used without a file: every network with a
// default route is managed by DefaultPolicy.
func Auto() *Config {
	c := defaults()
	c.Auto, c.AvoidMetered = true, true
	c.Policy.Name = DefaultPolicy
	return c
}

func defaults() *Config {
	return &Config{
		Sampling:  Sampling{Interval: DefaultInterval},
		Decisions: Decisions{Keep: DefaultKeep, RecordMax: DefaultRecordMax},
		Probe:     Probe{Interval: DefaultProbeInterval},
	}
}

// Load reads and parses the file at path. Errors in what the file says are an
// *Error.
func Load(ctx context.Context, path string) (*Config, error) {
	src, err := ReadFile(ctx, path, MaxSize+1)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(src, path)
}

// Parse parses src, in the grammar that it is written in; filename is for
// errors, which are an *Error. The Config keeps src.
func Parse(src []byte, filename string) (*Config, error) {
	c := defaults()
	c.File = filename
	c.src = source{name: filename, text: src}
	report := &report{src: c.src}
	if len(src) > MaxSize {
		report.errorf(Pos{}, "larger than %d bytes", MaxSize)
		return nil, report.err()
	}
	if isOriginal(src) {
		c.Original, c.SystemBus = true, Off
		parseOriginal(c, report)
	} else {
		parseHCL(c, report)
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

// PolicyConfig is what the policy is to be made from, but for the prefixes and
// the seed, which the caller adds.
func (c *Config) PolicyConfig() policy.Config {
	pc := policy.Config{Name: c.Policy.Name, Settings: c.Policy.Settings, Lenient: c.Original}
	for _, b := range c.Blocks {
		pc.PrefixSettings = append(pc.PrefixSettings, b.Options...)
	}
	return pc
}
