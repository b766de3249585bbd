package system

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/groupbed"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// scopeStage is a host with two networks, whose routes prefer wlan0 without source
// rules. It has the control groups of three services.
type scopeStage struct {
	t                  *testing.T
	bed                *testbed.Bed
	root               *groupbed.Group
	backup, web, other *groupbed.Group
	pins               *os.File
	conf               string
	socket             string
}

func newScopeStage(t *testing.T, scopes string) *scopeStage {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("needs the program curl: ", err)
	}
	s := &scopeStage{t: t, root: groupbed.New(t)}
	_, s.pins = groupbed.BPF(t)
	s.bed = testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
	s.backup, s.web, s.other = s.root.Sub("system.slice/backup.service"), s.root.Sub("system.slice/web.service"), s.root.Sub("other.slice")
	dir := t.TempDir()
	s.conf, s.socket = filepath.Join(dir, "mamma.conf"), filepath.Join(dir, "mamma.sock")
	s.configure(scopes)
	return s
}

func (s *scopeStage) configure(scopes string) {
	s.t.Helper()
	text := fmt.Sprintf(`
probe {
  when = "never"
}
interface "wlan0" {
  name    = "home"
  default = true
}
interface "wwan0" {
  name = "mobile"
}
policy "sample" {}
scopes {
  cgroup_root = %q
  pin_dir     = "/proc/self/fd/3/mamma"
}
`, s.root.Path) + scopes
	if err := os.WriteFile(s.conf, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// start starts mamma and waits until connections are placed.
func (s *scopeStage) start() *daemon {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(bin, "mamma"), "--socket", s.socket, s.conf)
	cmd.ExtraFiles = []*os.File{s.pins}
	d := &daemon{socket: s.socket, Process: stage.Launch(s.t, s.bed.Client, cmd)}
	stage.Until(s.t, "mamma is at work", func() bool {
		select {
		case <-d.Exited():
			s.t.Fatalf("mamma ended:\n%s%s", d.Out, d.Log)
		default:
		}
		log := d.Log.String()
		if strings.Contains(log, "not placed") {
			s.t.Skipf("needs BPF programs of control groups: %s", log)
		}
		return strings.Contains(log, "msg=serving") && strings.Contains(log, "placing connections of scopes")
	})
	return d
}

// fetch lets an unmodified program in a group connect. It returns the network that the
// connection went over, "unreachable" if the program was told at once that there is none,
// and "nowhere" if the connection failed otherwise.
func (s *scopeStage) fetch(g *groupbed.Group, url string) string { return s.fetchWithin(g, url, "15") }

// fetchWithin is fetch for a connection that may fail. patience is its time-out in
// seconds.
func (s *scopeStage) fetchWithin(g *groupbed.Group, url, patience string) string {
	s.t.Helper()
	cmd := exec.Command("curl", "-gsSv", "--max-time", "15", "--connect-timeout", patience, url)
	g.Put(cmd)
	p := stage.Launch(s.t, s.bed.Client, cmd)
	if code := p.Wait(s.t); code != 0 {
		if code == 7 && strings.Contains(p.Log.String(), "Network is unreachable") {
			return "unreachable"
		}
		if code == 7 || code == 28 { // it could not connect, or not in time
			return "nowhere"
		}
		return fmt.Sprintf("curl %d: %s", code, p.Log)
	}
	var seen testbed.Seen
	if err := json.Unmarshal([]byte(p.Out.String()), &seen); err != nil {
		s.t.Fatalf("%v: %s", err, p.Out)
	}
	return seen.Network
}

func (s *scopeStage) expect(when string, want map[*groupbed.Group]string) {
	s.t.Helper()
	for g, network := range want {
		for _, url := range []string{"http://" + testbed.ServiceAddr4.String() + "/", "http://[" + testbed.ServiceAddr6.String() + "]/"} {
			patience := "15"
			if network == "nowhere" {
				patience = "1"
			}
			if got := s.fetchWithin(g, url, patience); got != network {
				s.t.Errorf("%s: %s by %s goes over %s, want %s", when, url, filepath.Base(g.Path), got, network)
			}
		}
	}
}

// carrier takes a network's carrier away, or gives it back.
func (s *scopeStage) carrier(name string, up bool) {
	s.t.Helper()
	server := s.bed.Network(name).Server
	gw := server.Handle()
	link, err := gw.LinkByName("lan")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := server.Sysctl("net/ipv6/conf/lan/keep_addr_on_down", "1"); err != nil {
		s.t.Fatal(err)
	}
	set := gw.LinkSetDown
	if up {
		set = gw.LinkSetUp
	}
	if err := set(link); err != nil {
		s.t.Fatal(err)
	}
}

const twoScopes = `
scope "backup" {
  unit    = "backup.service"
  require = "network=mobile"
  intents = "category=bulktransfer"
}
scope "web" {
  unit   = "web.service"
  prefer = "network=home"
}
`

// Two services that know nothing of mamma stay on the networks that their scopes name,
// through the loss of either network, through a kill of mamma by SIGKILL, and through
// its next start. When mamma ends in order, everything is as it was without mamma.
func TestScopes(t *testing.T) {
	s := newScopeStage(t, twoScopes)
	d := s.start()
	mobile, home := "wwan0", "wlan0"
	apart := map[*groupbed.Group]string{s.backup: mobile, s.web: home, s.other: home}
	s.expect("at first", apart)

	s.carrier("wlan0", false)
	stage.Until(t, "web moves", func() bool { return s.fetchWithin(s.web, "http://192.0.2.1/", "1") == mobile })
	s.expect("without home", map[*groupbed.Group]string{s.backup: mobile, s.web: mobile})
	s.carrier("wlan0", true)
	stage.Until(t, "web moves back", func() bool { return s.fetchWithin(s.web, "http://192.0.2.1/", "1") == home })

	s.carrier("wwan0", false)
	stage.Until(t, "backup stays, and is told so", func() bool { return s.fetchWithin(s.backup, "http://192.0.2.1/", "1") == "unreachable" })
	s.expect("without mobile", map[*groupbed.Group]string{s.backup: "unreachable", s.web: home, s.other: home})
	if all := s.ctl("decisions", "--json"); !strings.Contains(all, "all networks that are permitted are down: mobile: the link has no carrier") {
		t.Errorf("decisions: %s", all)
	}
	s.carrier("wwan0", true)
	stage.Until(t, "backup moves back", func() bool { return s.fetchWithin(s.backup, "http://192.0.2.1/", "1") == mobile })

	d.Kill(t)
	s.expect("while mamma is away", apart)
	d = s.start()
	s.expect("after a restart", apart)

	d.Signal(t, syscall.SIGTERM)
	if code := d.Wait(t); code != 0 {
		t.Errorf("exit status %d\n%s", code, d.Log)
	}
	s.expect("after the end", map[*groupbed.Group]string{s.backup: home, s.web: home, s.other: home})
}

// A unit that waits for its scope connects over that scope's networks from the beginning: also
// if it starts before mamma, and in a control group that has just been made. It does not start
// if its connections are not placed by the scope.
func TestScopesWait(t *testing.T) {
	s := newScopeStage(t, twoScopes)
	early := s.wait(s.backup, "backup", "1m")
	s.start()
	if code := early.Wait(t); code != 0 {
		t.Errorf("before mamma: exit status %d\n%s", code, early.Log)
	}
	if got := s.fetch(s.backup, "http://192.0.2.1/"); got != "wwan0" {
		t.Errorf("backup goes over %s", got)
	}
	for i := range 20 {
		g := s.root.Sub(fmt.Sprintf("system.slice/run-%d.slice/backup.service", i))
		if p := s.wait(g, "backup", "1m"); p.Wait(t) != 0 {
			t.Fatalf("in a new group: %s", p.Log)
		}
		if got := s.fetch(g, "http://192.0.2.1/"); got != "wwan0" {
			t.Errorf("backup goes over %s in new group %d", got, i)
		}
	}
	if p := s.wait(s.web, "backup", "1s"); p.Wait(t) != 1 || !strings.Contains(p.Log.String(), "does not belong to it") {
		t.Errorf("in another group: %s", p.Log)
	}
	s.ctl("scopes", "--detach")
	if p := s.wait(s.backup, "backup", "1s"); p.Wait(t) != 1 || !strings.Contains(p.Log.String(), "nothing is placed") {
		t.Errorf("detached: %s", p.Log)
	}
}

// wait runs mammactl scopes --wait in a group.
func (s *scopeStage) wait(g *groupbed.Group, scope, limit string) *stage.Process {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(bin, "mammactl"), "--control", s.control(), "scopes", "--wait", scope, "--timeout", limit)
	g.Put(cmd)
	return stage.Launch(s.t, s.bed.Client, cmd)
}

// control is the path of the control socket.
func (s *scopeStage) control() string { return filepath.Join(filepath.Dir(s.socket), "control.sock") }

// ctl runs mammactl as root, with mamma's file system for links, and returns what
// mammactl prints.
func (s *scopeStage) ctl(args ...string) string {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(bin, "mammactl"), append([]string{"--control", s.control()}, args...)...)
	cmd.ExtraFiles = []*os.File{s.pins}
	p := stage.Launch(s.t, s.bed.Client, cmd)
	if code := p.Wait(s.t); code != 0 {
		s.t.Fatalf("mammactl %s: exit status %d\n%s%s", strings.Join(args, " "), code, p.Out, p.Log)
	}
	return p.Out.String()
}

// byIntents changes the configuration so that bulk transfers use wwan0.
func (s *scopeStage) byIntents() {
	s.t.Helper()
	text, err := os.ReadFile(s.conf)
	if err != nil {
		s.t.Fatal(err)
	}
	with := strings.NewReplacer(`policy "sample"`, `policy "intents"`, `name = "mobile"`, "name = \"mobile\"\n  options {\n    category = \"bulktransfer\"\n  }")
	if err := os.WriteFile(s.conf, []byte(with.Replace(string(text))), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// download lets an unmodified program in a group fetch 4 MiB. It returns the network that
// they came over.
func (s *scopeStage) download(g *groupbed.Group) string {
	s.t.Helper()
	cmd := exec.Command("curl", "-gsS", "--max-time", "15", "-o", "/dev/null", "-w", "%{local_ip}", fmt.Sprintf("http://192.0.2.1/bytes/%d", 4<<20))
	g.Put(cmd)
	p := stage.Launch(s.t, s.bed.Client, cmd)
	if code := p.Wait(s.t); code != 0 {
		s.t.Fatalf("curl %d: %s", code, p.Log)
	}
	local, err := netip.ParseAddr(strings.TrimSpace(p.Out.String()))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.bed.NetworkOf(local).Name
}

// What connections have carried to a destination decides about further ones there, without
// a word in the configuration of what they are. It does so for the scope that learns, and after
// a restart, too.
func TestScopesLearn(t *testing.T) {
	s := newScopeStage(t, fmt.Sprintf(`
state_dir = %q
scope "backup" {
  unit     = "backup.service"
  learning = true
}
scope "web" {
  unit = "web.service"
}
`, t.TempDir()))
	s.byIntents()
	d := s.start()
	learnt := regexp.MustCompile(`(?m)^backup .*\n  1 learnt$`)
	for i := range 3 {
		if learnt.MatchString(s.ctl("scopes")) {
			t.Errorf("learnt from %d connections", i)
		}
		if got := s.download(s.backup); got != "wlan0" {
			t.Errorf("download %d goes over %s", i+1, got)
		}
	}
	stage.Until(t, "mamma has learnt", func() bool { return learnt.MatchString(s.ctl("scopes")) })
	if got := s.download(s.backup); got != "wwan0" {
		t.Errorf("the next download goes over %s", got)
	}
	if got := s.download(s.web); got != "wlan0" {
		t.Errorf("a download in a scope that does not learn goes over %s", got)
	}
	stage.Until(t, "mamma has seen the connection", func() bool { return strings.Contains(s.ctl("decisions", "--json"), `"scope backup, learnt"`) })

	d.Signal(t, syscall.SIGTERM)
	if code := d.Wait(t); code != 0 {
		t.Errorf("exit status %d\n%s", code, d.Log)
	}
	s.start()
	if got := s.download(s.backup); got != "wlan0" {
		t.Errorf("the first connection after a restart goes over %s", got)
	}
	stage.Until(t, "mamma remembers", func() bool { return learnt.MatchString(s.ctl("scopes")) })
	if got := s.download(s.backup); got != "wwan0" {
		t.Errorf("after a restart it goes over %s", got)
	}
}

const scopeRules = `
scope "backup" {
  unit         = "backup.service"
  port_intents = true
  intents "mirror" {
    set         = "category=bulktransfer"
    destination = "2001:db8:ffff::/48"
    port        = [80, "8000-8999"]
  }
}
scope "web" {
  unit    = "web.service"
  intents = "category=bulktransfer"
  intents "pages" {
    set     = "category=query"
    command = "curl"
  }
}
`

// Rules in a scope state intents for some of its connections, from the first one on. mammactl
// shows which network they lead to, and which rule counted.
func TestScopeRules(t *testing.T) {
	s := newScopeStage(t, scopeRules)
	s.byIntents()
	s.start()
	for _, x := range []struct {
		group *groupbed.Group
		url   string
		want  string
	}{
		{s.backup, "http://192.0.2.1/", "wlan0"}, {s.backup, "http://[2001:db8:ffff::1]/", "wwan0"},
		{s.web, "http://192.0.2.1/", "wlan0"}, {s.web, "http://[2001:db8:ffff::1]/", "wlan0"},
		{s.other, "http://[2001:db8:ffff::1]/", "wlan0"},
		{s.backup, "http://[2001:db8:ffff::1]/", "wwan0"}, // with an answer of its own
	} {
		if got := s.fetch(x.group, x.url); got != x.want {
			t.Errorf("%s by %s goes over %s, want %s", x.url, filepath.Base(x.group.Path), got, x.want)
		}
	}
	stage.Until(t, "mamma has seen the connections", func() bool { return strings.Contains(s.ctl("decisions", "--json"), `"scope web, rule pages"`) })
	if all := s.ctl("decisions", "--json"); strings.Count(all, `"scope backup, rule mirror"`) != 2 || !strings.Contains(all, `"scope backup"`) {
		t.Errorf("decisions: %s", all)
	}
	shown := s.ctl("scopes")
	if !regexp.MustCompile(`(?m)^backup +home .*\n  rule mirror +mobile +mobile *\n(  ports? \d.*\n)*  ports 20, 873, 9418 +mobile.*\n(  ports? \d.*\n)*web +mobile .*\n  rule pages +home`).MatchString(shown) {
		t.Errorf("mammactl scopes shows\n%s", shown)
	}
}

// mammactl shows which connections are placed. A scope that a reload removes no longer
// exists. Everything ends on request, even if a mamma was killed and cannot be asked.
func TestScopesShown(t *testing.T) {
	s := newScopeStage(t, twoScopes)
	d := s.start()
	if got := s.fetch(s.backup, "http://192.0.2.1/"); got != "wwan0" {
		t.Fatalf("backup goes over %s", got)
	}
	var shown control.Scopes
	stage.Until(t, "mamma has seen the connection", func() bool {
		shown = control.Scopes{}
		if err := json.Unmarshal([]byte(s.ctl("scopes", "--json")), &shown); err != nil {
			t.Fatal(err)
		}
		return shown.Scopes[0].Placed > 0
	})
	b := &shown.Scopes[0]
	if b.Name != "backup" || b.Placed != 1 || b.Failed != 0 || len(b.Groups) != 1 || b.Groups[0] != "/system.slice/backup.service" ||
		len(b.Usual) != 4 || b.Usual[0].Kind != "place" || *b.Usual[0].Chosen.Name != "mobile" || *b.Selection != "require network mobile" || !shown.Kept || !shown.Measured || shown.Error != nil {
		t.Errorf("scope: %+v of %+v", b, shown)
	}
	var e control.Event // a second event would be an error
	if err := json.Unmarshal([]byte(s.ctl("decisions", "--json")), &e); err != nil || e.Decision == nil {
		t.Fatalf("decisions: %+v, %v", e, err)
	}
	x := e.Decision
	if *x.App.Command != "curl" || *x.App.PID == 0 || *x.Origin.Source != "scope backup" || *x.Remote != "192.0.2.1:80" || *x.Chosen.Name != "mobile" || !x.Only || *x.Intents.Category != "bulktransfer" {
		t.Errorf("decision: %+v", x)
	}
	if text := s.ctl("scopes"); !strings.Contains(text, "backup  mobile") || !strings.Contains(text, "/system.slice/web.service") {
		t.Errorf("mammactl scopes shows\n%s", text)
	}

	// A group that begins now belongs to its scope from its first connection on, or
	// soon after.
	late := s.root.Sub("user.slice/late.scope")
	s.configure(strings.ReplaceAll(twoScopes, "unit    = \"backup.service\"", "unit    = [\"late.scope\", \"later.scope\"]"))
	s.ctl("reload")
	s.expect("after a reload", map[*groupbed.Group]string{s.backup: "wlan0", late: "wwan0"})
	later := s.root.Sub("user.slice/later.scope")
	stage.Until(t, "a group that began after that is seen", func() bool { return s.fetch(later, "http://192.0.2.1/") == "wwan0" })

	if out := s.ctl("scopes", "--detach"); !strings.Contains(out, "not placed until") {
		t.Errorf("detach says %q", out)
	}
	s.expect("detached", map[*groupbed.Group]string{late: "wlan0"})
	s.ctl("reload")
	s.expect("attached again", map[*groupbed.Group]string{late: "wwan0"})

	d.Kill(t)
	s.expect("while mamma is away", map[*groupbed.Group]string{late: "wwan0"})
	if out := s.ctl("scopes", "--detach", "--pin-dir", "/proc/self/fd/3/mamma"); !strings.Contains(out, "is detached") {
		t.Errorf("detach says %q", out)
	}
	s.expect("after that", map[*groupbed.Group]string{late: "wlan0"})
}

// A mamma without scopes removes what a killed mamma has left behind.
func TestScopesLeftBehind(t *testing.T) {
	s := newScopeStage(t, twoScopes)
	s.start().Kill(t)
	s.configure("")
	cmd := exec.Command(filepath.Join(bin, "mamma"), "--socket", s.socket, s.conf)
	cmd.ExtraFiles = []*os.File{s.pins}
	p := stage.Launch(t, s.bed.Client, cmd)
	stage.Until(t, "what was left is detached", func() bool { return strings.Contains(p.Log.String(), "is detached") })
	s.expect("then", map[*groupbed.Group]string{s.backup: "wlan0"})
}

// Destinations with routes of their own are never steered elsewhere: one on the other
// network's link, one behind a gateway there, and this host itself.
func TestScopesLeaveRoutes(t *testing.T) {
	s := newScopeStage(t, "scope \"rest\" {\n  prefer = \"network=mobile\"\n}\n")
	client := s.bed.Client.Handle()
	home := s.bed.Network("wlan0")
	link, err := client.LinkByName("wlan0")
	if err != nil {
		t.Fatal(err)
	}
	split := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4(198, 51, 100, 0).To4(), Mask: net.CIDRMask(24, 32)}, Gw: home.Gateway4.AsSlice()}
	if err := client.RouteAdd(split); err != nil {
		t.Fatal(err)
	}
	gw := home.Server.Handle()
	lo, err := gw.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := gw.AddrAdd(lo, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(198, 51, 100, 1).To4(), Mask: net.CIDRMask(32, 32)}}); err != nil {
		t.Fatal(err)
	}
	l, err := home.Server.Listen("tcp", "198.51.100.1:80")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = http.Serve(l, home.Server.HTTP.Mux) }() //nolint:gosec // a test
	t.Cleanup(func() { _ = l.Close() })
	s.start()
	for range 3 { // first undecided, later decided
		for url, want := range map[string]string{
			"http://192.0.2.1/": "wwan0", "http://" + home.Gateway4.String() + "/": "wlan0", "http://198.51.100.1/": "wlan0",
			"http://[" + home.Gateway6.String() + "]/": "wlan0",
		} {
			if got := s.fetch(s.other, url); got != want {
				t.Errorf("%s over %s, want %s", url, got, want)
			}
		}
	}
}

// What connections of scopes bring is measured, for policies that learn from it.
func TestScopeTransfers(t *testing.T) {
	record := filepath.Join(t.TempDir(), "decisions.jsonl")
	s := newScopeStage(t, fmt.Sprintf(`
decisions {
  record = %q
}
scope "backup" {
  unit    = "backup.service"
  intents = "category=bulktransfer"
}
`, record))
	s.start()
	const size = 300_000_000 // nobody can tell how long less would take, as it may come between two measurements
	line := regexp.MustCompile(`"transfer":{"policy":"sample".*"command":"curl".*"remote":"192.0.2.1".*"measured":true,"bytes":30[0-9]{7},"duration_ns":[1-9][0-9]{7,},`)
	stage.Until(t, "a transfer is measured", func() bool {
		cmd := exec.Command("curl", "-gsS", "-o", "/dev/null", fmt.Sprintf("http://%v/bytes/%d", testbed.ServiceAddr4, size))
		s.backup.Put(cmd)
		if p := stage.Launch(t, s.bed.Client, cmd); p.Wait(t) != 0 {
			t.Fatal(p.Log)
		}
		text, err := os.ReadFile(record)
		if err != nil {
			t.Fatal(err)
		}
		return line.Match(text)
	})
}
