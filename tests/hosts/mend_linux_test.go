package hosts

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/network/routing"
	"github.com/socket-intents/mamma/internal/operator/doctor"
	"github.com/socket-intents/mamma/internal/operator/hostfile"
	"github.com/socket-intents/mamma/internal/testing/hostbed"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// mendTask begins the task of a child that runs the commands which the doctor proposes.
const mendTask = "mend:"

// On each host where the doctor proposes commands, they are run as printed. They mend
// what was found, leave all other traffic on its way, leave nothing behind if a part of
// them fails, and do nothing if run again.
func TestDoctorMends(t *testing.T) {
	files, err := filepath.Glob("*.host")
	if err != nil {
		t.Fatal(err)
	}
	known := readExpected(t)
	ran := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(f, ".host")
		if !regexp.MustCompile(`(?m)^doctor (problem|warning)`).Match(text) || known[name+"/doctor"] != "" {
			continue
		}
		ran++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, err := filepath.Abs(f)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := hostbed.Child(mendTask+path, 2*time.Minute); err != nil {
				testbed.SkipOrFail(t, err)
			}
		})
	}
	if ran < 5 {
		t.Errorf("%d hosts with findings only", ran)
	}
}

// patient is a host that the doctor examines.
type patient struct {
	host      *hostfile.Host
	world     *hostbed.World
	dir, conf string
}

// mend loads a host and runs the commands that the doctor proposes.
func mend(path string) (err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	h, err := hostfile.Parse(text, filepath.Base(path))
	if err != nil {
		return err
	}
	w, err := hostbed.Load(h)
	if errors.Is(err, testbed.ErrUnavailable) {
		return nil // TestHosts tells that it is unavailable
	}
	if err != nil {
		return err
	}
	defer w.Close()
	dir, err := os.MkdirTemp("", "mamma-mend")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p := &patient{host: h, world: w, dir: dir, conf: filepath.Join(dir, "mamma.conf")}
	lines := h.Config
	if len(lines) == 0 {
		lines = []string{"auto = true"}
	}
	lines = append([]string{`policy "sample" {}`}, lines...)
	if err := os.WriteFile(p.conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	if slices.Contains(h.Config, `routing = "manage"`) {
		// A fault that the doctor finds while mamma's rules are there is mended while
		// they are there.
		r := &run{host: h, world: w, dir: filepath.Join(dir, "daemon"), conf: filepath.Join(dir, "daemon", "mamma.conf")}
		if err := os.Mkdir(r.dir, 0o700); err != nil {
			return err
		}
		if err := r.start(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.stop()) }()
		if err := r.settle(ctx); err != nil {
			return err
		}
	}
	return p.mendAll(ctx)
}

func (p *patient) mendAll(ctx context.Context) error {
	before := p.answers()
	var duplicates, undone, moved []doctor.Finding
	for range 4 { // mending one finding may reveal another
		found, err := examine(ctx, p.conf, p.dir, p.world)
		if err != nil {
			return err
		}
		mended := 0
		for _, x := range found {
			for _, fix := range x.Fix {
				if err := p.look(fix); err != nil {
					return err
				}
			}
			switch {
			case !command(x):
			case x.Check == "duplicate":
				duplicates = append(duplicates, x)
			case x.Check == "undone" || x.Check == "passed":
				undone = append(undone, x)
			default:
				if err := p.apply(x.Fix[0]); err != nil {
					return err
				}
				if strings.Contains(x.Fix[0], " rule del ") && !strings.Contains(x.Fix[0], " route add ") {
					moved = append(moved, x)
				}
				mended++
			}
		}
		if mended == 0 {
			break
		}
		duplicates, undone = nil, nil // they have been found again
	}
	if diff := differs(before, func() map[string]string { return p.withOwn(withMoved(p.answers(), before, moved), before) }); diff != "" {
		return fmt.Errorf("what the doctor says does harm (-before +after)\n%s", diff)
	}
	for _, x := range undone {
		was := p.answers()
		if err := p.apply(x.Fix[0]); err != nil {
			return err
		}
		// Only what the rule refuses is refused now; nothing else changes, and neighbours are reached.
		for question, answer := range p.answers() {
			if answer != was[question] && (!strings.HasPrefix(answer, "RTNETLINK answers: Permission denied") || p.near(question)) {
				return fmt.Errorf("%s: %s was answered with %q, now with %q", x.Fix[0], question, was[question], answer)
			}
		}
	}
	far := p.unbound()
	for _, x := range duplicates {
		if err := p.apply(x.Fix[0]); err != nil {
			return err
		}
	}
	if diff := differs(far, p.unbound); diff != "" {
		return fmt.Errorf("what is not bound goes elsewhere (-before +after)\n%s", diff)
	}
	left, err := examine(ctx, p.conf, p.dir, p.world)
	if err != nil {
		return err
	}
	for _, x := range left {
		if command(x) {
			return fmt.Errorf("%s %s is not mended by %s", x.Check, x.Subject, x.Fix[0])
		}
	}
	return nil
}

// withOwn returns now with the answers from before for those addresses that now reach
// the neighbours on their own link. They should have done so before.
func (p *patient) withOwn(now, before map[string]string) map[string]string {
	for _, s := range p.host.All("addr") {
		own, err := netip.ParsePrefix(s.Args[0].Value)
		if err != nil {
			continue
		}
		for question, answer := range now {
			from, to, _ := strings.Cut(question, " to ")
			dst, err := netip.ParseAddr(to)
			if err == nil && from == own.Addr().String() && own.Contains(dst) && strings.HasSuffix(answer, to+" from "+from+" dev "+s.Value("dev")) {
				now[question] = before[question]
			}
		}
	}
	return now
}

// withMoved returns now with the answers from before, where a rule was moved behind
// mamma's rule for a network. Packets from that network then leave by its own
// interface, even to neighbours.
func withMoved(now, before map[string]string, moved []doctor.Finding) map[string]string {
	for _, x := range moved {
		prefix, iface, _ := strings.Cut(x.Subject, " on ")
		for question, answer := range now {
			from, _, _ := strings.Cut(question, " to ")
			a, err := netip.ParseAddr(from)
			if err == nil && netip.MustParsePrefix(prefix).Contains(a) && strings.HasSuffix(answer, " dev "+iface) {
				now[question] = before[question]
			}
		}
	}
	return now
}

// command tells whether a command that can be run here mends the finding.
func command(x doctor.Finding) bool {
	return len(x.Fix) > 0 && !shows(x.Fix[0]) && (strings.HasPrefix(x.Fix[0], "ip ") || strings.HasPrefix(x.Fix[0], "sysctl "))
}

func shows(fix string) bool { return strings.Contains(fix, "    # shows") }

// look runs a command that only shows something, and checks that it changes nothing.
func (p *patient) look(fix string) error {
	if !shows(fix) || !strings.HasPrefix(fix, "ip ") {
		return nil
	}
	before := state()
	if out, err := p.shell(fix, 0); err != nil {
		return fmt.Errorf("%s: %w: %s", fix, err, out)
	}
	if diff := cmp.Diff(before, state()); diff != "" {
		return fmt.Errorf("%s changes what it should show\n%s", fix, diff)
	}
	return nil
}

// apply runs a command several times: first so that each of its calls of ip fails in
// turn, then as it is, then once more.
func (p *patient) apply(fix string) error {
	before := state()
	for n := 1; strings.Contains(fix, "&&") && n <= strings.Count(fix, " add "); n++ {
		if out, err := p.shell(fix, n); err == nil {
			return fmt.Errorf("%s: succeeds though call %d failed: %s", fix, n, out)
		}
		if diff := differs(before, state); diff != "" {
			return fmt.Errorf("%s: if call %d fails, this stays (-before +after)\n%s", fix, n, diff)
		}
	}
	if out, err := p.shell(fix, 0); err != nil {
		return fmt.Errorf("%s: %w: %s", fix, err, out)
	}
	after := state()
	_, _ = p.shell(fix, 0) // ip fails for what exists already
	if diff := differs(after, state); diff != "" {
		return fmt.Errorf("%s: run again it does more (-once +twice)\n%s", fix, diff)
	}
	if entries, err := os.ReadDir(p.dir); err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return !slices.Contains([]string{"mamma.conf", "ip", "calls", "daemon"}, e.Name())
	}) {
		return fmt.Errorf("%s: made files: %v, %w", fix, entries, err)
	}
	return nil
}

// shell runs a command. If fail is not 0, the call of ip with that number fails.
func (p *patient) shell(command string, fail int) ([]byte, error) {
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = p.dir
	if fail > 0 {
		real, err := exec.LookPath("ip")
		if err != nil {
			return nil, err
		}
		calls := filepath.Join(p.dir, "calls")
		script := fmt.Sprintf("#!/bin/sh\necho >> %s\nif [ $(wc -l < %s) -eq %d ]; then exit 2; fi\nexec %s \"$@\"\n", calls, calls, fail, real)
		if err := errors.Join(os.WriteFile(calls, nil, 0o600), os.WriteFile(filepath.Join(p.dir, "ip"), []byte(script), 0o700)); err != nil { //nolint:gosec // it is to be run
			return nil, err
		}
		cmd.Env = append(os.Environ(), "PATH="+p.dir+":"+os.Getenv("PATH"))
	}
	return cmd.CombinedOutput()
}

// differs returns the difference between want and now. It waits for a while until there
// is none, because a daemon that manages routes follows a command after a moment.
func differs[T any](want T, now func() T) (diff string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for enough := time.Now().Add(2 * time.Second); ; <-tick.C {
		if diff = cmp.Diff(want, now()); diff == "" || time.Now().After(enough) {
			return diff
		}
	}
}

// state returns what the commands may change: rules, routes and flags of links.
func state() []string {
	var list []string
	for _, args := range [][]string{{"rule"}, {"-6", "rule"}, {"route", "show", "table", "all"}, {"-6", "route", "show", "table", "all"}, {"-o", "link"}} {
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			out = fmt.Append(out, err)
		}
		text := passing.ReplaceAllString(regexp.MustCompile(`expires \d+sec`).ReplaceAllString(string(out), ""), "$1")
		list = append(list, strings.Split(text, "\n")...)
	}
	// The routes of a daemon that manages routes are left out, because it changes them
	// in its own time.
	own := fmt.Sprintf(" proto %d", routing.Protocol)
	return slices.DeleteFunc(list, func(l string) bool { return strings.Contains(l+" ", own+" ") })
}

// answers returns the kernel's answers: where each address sends to neighbours on each
// link, and where unbound packets go.
func (p *patient) answers() map[string]string {
	all := p.unbound()
	addrs := p.addrs()
	for _, from := range addrs {
		for _, to := range addrs {
			dst := to.Masked().Addr().Next()
			for slices.ContainsFunc(addrs, func(a netip.Prefix) bool { return a.Addr() == dst }) {
				dst = dst.Next()
			}
			if dst.Is4() == from.Addr().Is4() && to.Contains(dst) {
				all[from.Addr().String()+" to "+dst.String()] = way(dst.String(), "from", from.Addr().String())
			}
		}
	}
	// Packets that rules for destinations lead elsewhere, or refuse, must still go
	// there.
	for _, rule := range slices.Concat(p.host.All("rule"), p.host.All("rule6")) {
		to, err := netip.ParsePrefix(rule.Value("to"))
		for _, from := range addrs {
			if err == nil && to.Addr().Is4() == from.Addr().Is4() {
				dst := to.Masked().Addr().Next().String()
				all[from.Addr().String()+" to "+dst] = way(dst, "from", from.Addr().String())
			}
		}
	}
	return all
}

// near tells whether a question is about a neighbour of its source.
func (p *patient) near(question string) bool {
	from, to, _ := strings.Cut(question, " to ")
	dst, err := netip.ParseAddr(to)
	return err == nil && slices.ContainsFunc(p.addrs(), func(a netip.Prefix) bool { return a.Addr().String() == from && a.Contains(dst) })
}

func (p *patient) unbound() map[string]string {
	return map[string]string{"IPv4": way("198.18.77.7"), "IPv6": way("2a02:cafe::77")}
}

// way returns the kernel's answer for a destination.
func way(dst string, more ...string) string {
	out, _ := exec.Command("ip", append([]string{"-o", "route", "get", dst}, more...)...).CombinedOutput()
	text, _, _ := strings.Cut(string(out), " uid ")
	text, _, _ = strings.Cut(text, " table ") // which table has the route does not matter
	return strings.Join(strings.Fields(text), " ")
}

// addrs returns the host's addresses that are valid beyond their links.
func (p *patient) addrs() []netip.Prefix {
	var list []netip.Prefix
	for _, s := range p.host.All("addr") {
		if a, err := netip.ParsePrefix(s.Args[0].Value); err == nil && !a.Addr().IsLinkLocalUnicast() {
			list = append(list, a)
		}
	}
	return list
}
