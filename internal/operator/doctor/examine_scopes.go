package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Scopes are what the running mamma says about its scopes, and what it needs for them. It
// belongs to Facts; the caller of Collect adds what only the daemon knows.
type Scopes struct {
	// Rights are the capabilities that mamma lacks for scopes. NoGroups tells that cgroup2
	// is not mounted. Collect finds out both.
	Rights   []string
	NoGroups bool

	// Known tells that a mamma runs and has said what follows.
	Known bool
	// Error is why connections are not placed, or not as they should be; "": all is well.
	Error    string
	Attached bool     // mamma places connections
	Detached bool     // somebody has asked mamma to place none
	Missing  []string // the hooks that the kernel lacks
	Single   string   // why scopes with "mptcp" use TCP; "": they do not, or there are none
	// Unkept tells that no connection is placed while mamma is started again, although the
	// configuration wants that.
	Unkept bool
	// Unmatched are scopes without a control group. Failed counts connections by scope that
	// could not be bound to the network that was chosen.
	Unmatched []string
	Failed    map[string]uint64
}

// grant is the command that gives the service what scopes need.
const grant = "install -D -m 0644 /usr/share/doc/mamma/examples/scopes.conf /etc/systemd/system/mamma.service.d/scopes.conf && systemctl daemon-reload && systemctl restart mamma"

// scopes reports why connections of scopes are not placed.
func (e *examination) scopes() {
	s := e.facts.Scopes
	if s == nil {
		return
	}
	const subject = "scopes"
	unplaced := Finding{Severity: Problem, Check: "scopes", Subject: subject, Text: "mamma places no connection of a scope", Evidence: s.Error}
	switch {
	case s.Attached:
		unplaced.Text, unplaced.Severity = "mamma does not place all connections of scopes as it should", Warning
		unplaced.Fix = []string{"mammactl scopes    # shows which control groups belong to which scope", "mammactl reload"}
		e.add(s.Error != "", unplaced)
	case s.NoGroups:
		unplaced.Evidence = "no cgroup2 is mounted"
		unplaced.Fix = []string{"systemd.unified_cgroup_hierarchy=1    # on the kernel's command line", "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified    # if systemd does not run"}
		e.add(true, unplaced)
	case s.Known && s.Detached:
		unplaced.Severity, unplaced.Evidence = Warning, "somebody has said mammactl scopes --detach"
		unplaced.Fix = []string{"mammactl reload"}
		e.add(true, unplaced)
	case len(s.Rights) > 0:
		unplaced.Evidence = "mamma lacks " + strings.Join(s.Rights, ", ")
		unplaced.Fix = []string{grant, "systemctl edit mamma    # write [Service], AmbientCapabilities=CAP_BPF CAP_PERFMON CAP_NET_ADMIN and \"SystemCallFilter=bpf capset\" there"}
		e.add(true, unplaced)
	default:
		unplaced.Fix = []string{
			"journalctl -u mamma    # shows what the kernel has refused",
			"use Linux 5.14 or later, with CONFIG_CGROUP_BPF",
		}
		e.add(s.Known && s.Error != "", unplaced)
	}
	if !s.Known {
		return
	}
	e.add(len(s.Missing) > 0, Finding{
		Severity: Warning, Check: "scopes", Subject: subject, Text: "the kernel lacks hooks, so datagrams of sockets that are not connected are not placed",
		Evidence: "without " + strings.Join(s.Missing, " and "), Fix: []string{"use a kernel with CONFIG_CGROUP_BPF and these hooks"},
	})
	e.add(s.Single != "", Finding{
		Severity: Warning, Check: "scopes", Subject: subject, Text: "scopes with mptcp = true use TCP, because the kernel makes no sockets of Multipath TCP for them",
		Evidence: s.Single, Fix: []string{
			"use Linux 6.6 or later, with CONFIG_DEBUG_INFO_BTF, that permits tracing programs to change results",
			"start the programs with: mammactl run --mptcp",
		},
	})
	e.add(s.Attached && s.Unkept, Finding{
		Severity: Note, Check: "scopes", Subject: subject, Text: "no connection is placed while mamma is started again",
		Evidence: "there is no BPF file system that mamma may use", Fix: []string{
			`scopes { pin_dir = "/run/mamma/bpf/mamma" }    # in the configuration; the lines for it are in scopes.conf, behind #`,
			`scopes { pin_dir = "off" }    # in the configuration, if that is intended`,
		},
	})
	e.eachScope(s)
}

// eachScope reports about single scopes.
func (e *examination) eachScope(s *Scopes) {
	for _, name := range s.Unmatched {
		e.add(s.Attached, Finding{
			Severity: Note, Check: "scopes", Subject: fmt.Sprintf("scope %q", name), Text: "the scope matches no control group of this host at the moment",
			Evidence: "mammactl scopes lists none", Fix: []string{"systemd-cgls    # shows the control groups"},
		})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Failed)) {
		n := s.Failed[name]
		e.add(n > 0, Finding{
			Severity: Warning, Check: "scopes", Subject: fmt.Sprintf("scope %q", name), Text: fmt.Sprintf("%d connections could not be bound to the network that was chosen for them", n),
			Evidence: "mammactl scopes counts them since the start of mamma", Fix: []string{"mammactl decisions    # shows why"},
		})
	}
}

// onDown reports what keeps on_down = "reset" from having an effect.
func (e *examination) onDown() {
	blocks := e.facts.Resets
	if len(blocks) == 0 {
		return
	}
	subject, at := blocks[0].Name, blocks[0].At
	e.add(!e.facts.MayRoute, Finding{
		Severity: Problem, Check: "on-down", Subject: subject, Text: `on_down = "reset" needs CAP_NET_ADMIN, which mamma does not have`,
		Evidence: at + "; bit 12 of CapEff in /proc/PID/status is not set",
		Fix:      []string{"systemctl edit mamma    # write [Service] and AmbientCapabilities=CAP_NET_ADMIN there", `on_down = "keep"    # in the configuration`},
	})
	e.add(e.facts.NeverProbes, Finding{
		Severity: Warning, Check: "on-down", Subject: subject, Text: "mamma sends no probes, so on_down acts only if the link or the address is lost",
		Evidence: at + `; when = "never" in the block probe`, Fix: []string{`probe { when = "doubt" }    # in the configuration`},
	})
	ways := map[string]bool{}
	for i := range e.facts.Prefixes {
		if p := &e.facts.Prefixes[i]; p.Far && p.Refused == "" {
			ways[p.ID.Interface] = true
		}
	}
	e.add(len(ways) == 1, Finding{
		Severity: Note, Check: "on-down", Subject: subject, Text: "connections are not ended as long as no other network works, and mamma manages only one",
		Evidence: at, Fix: []string{"mammactl prefixes    # shows the networks that mamma manages"},
		Copes: "connections stay as they are",
	})
}
