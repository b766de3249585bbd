package system

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

const modemManager = "/usr/sbin/ModemManager"

// modem answers AT commands (3GPP TS 27.007) as a modem of LTE does, at two ports.
type modem struct {
	mu      sync.Mutex
	roaming bool
	conns   map[net.Conn]bool
	byCode  bool     // the operator is told by its code
	unknown []string // commands that had no answer
}

// The ports of the modem, in the form of ModemManager's test interface: abstract sockets.
var modemPorts = []string{"abstract:mm0", "abstract:mm1"}

// newModem makes a modem in the namespace of the host.
func (d *desktop) newModem() *modem {
	d.t.Helper()
	m := &modem{conns: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	var listeners []net.Listener
	d.t.Cleanup(func() {
		for _, l := range listeners {
			_ = l.Close()
		}
		m.hangUp()
		serving.Wait()
	})
	for _, name := range modemPorts {
		var l net.Listener
		if err := d.bed.Client.Do(func() (err error) {
			l, err = net.Listen("unix", "@"+name)
			return err
		}); err != nil {
			d.t.Fatal(err)
		}
		listeners = append(listeners, l)
		serving.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serving.Go(func() { m.serve(c) })
			}
		})
	}
	return m
}

func (m *modem) hangUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.conns {
		_ = c.Close()
	}
}

func (m *modem) serve(c net.Conn) {
	m.mu.Lock()
	m.conns[c] = true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.conns, c)
		m.mu.Unlock()
		_ = c.Close()
	}()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\r')
		if err != nil {
			return
		}
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		m.mu.Lock()
		_, err = c.Write([]byte("\r\n" + strings.Join(m.answerLocked(line), "\r\n\r\n") + "\r\n"))
		m.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// registrationLocked is the state of registration: 1 at home, 5 abroad.
func (m *modem) registrationLocked() int {
	if m.roaming {
		return 5
	}
	return 1
}

// roam has the modem tell by itself that it roams, or is at home again.
func (m *modem) roam(abroad bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.roaming = abroad
	for c := range m.conns {
		for _, domain := range []string{"CREG", "CGREG", "CEREG"} {
			_, _ = fmt.Fprintf(c, "\r\n+%s: %d,\"0001\",\"00000001\",7\r\n", domain, m.registrationLocked())
		}
	}
}

func (m *modem) answerLocked(command string) []string {
	fixed := map[string]string{
		"AT+CGMI": "Example", "AT+CGMM": "Modem", "AT+CGMR": "1", "AT+CGSN": "490154203237518", "AT+CIMI": "001010123456789",
		"AT+CPIN?": "+CPIN: READY", "AT+GCAP": "+GCAP: +CGSM", "AT+CSQ": "+CSQ: 20,99", "AT+CFUN?": "+CFUN: 1",
		"AT+CSCS=?": `+CSCS: ("IRA")`, "AT+CRSM=176,12258,0,0,10": `+CRSM: 144,0,"98101430121181157002"`,
		"AT+WS46=?": "+WS46: (12,22,25,28,29)", "AT+CREG=?": "+CREG: (0-2)", "AT+CGREG=?": "+CGREG: (0-2)", "AT+CEREG=?": "+CEREG: (0-2)",
		"AT+CGDCONT=?": `+CGDCONT: (1-16),"IP",,,(0-2),(0-4)`, "AT+CGDCONT?": `+CGDCONT: 1,"IP","internet","",0,0`, "AT+CGATT?": "+CGATT: 1", "AT+CGACT?": "+CGACT: 1,0",
	}
	if answer, ok := fixed[command]; ok {
		return []string{answer, "OK"}
	}
	for _, domain := range []string{"CREG", "CGREG", "CEREG"} {
		if command == "AT+"+domain+"?" {
			return []string{fmt.Sprintf(`+%s: 2,%d,"0001","00000001",7`, domain, m.registrationLocked()), "OK"}
		}
	}
	switch command {
	case "AT+COPS=3,0", "AT+COPS=3,2":
		m.byCode = command == "AT+COPS=3,2"
		return []string{"OK"}
	case "AT+COPS?":
		if m.byCode {
			return []string{`+COPS: 0,2,"00101",7`, "OK"}
		}
		return []string{`+COPS: 0,0,"Example",7`, "OK"}
	}
	if strings.HasPrefix(command, "ATD") {
		return []string{"CONNECT"}
	}
	for _, known := range []string{"ATE", "ATV", "ATZ", "ATH", "ATX", "AT&C", "AT+CMEE", "AT+CREG=", "AT+CGREG=", "AT+CEREG=", "AT+CFUN=", "AT+COPS=0", "AT+IFC", "AT+CSCS", "AT+CGDCONT=", "AT+CGACT=", "AT+CGATT="} {
		if strings.HasPrefix(command, known) {
			return []string{"OK"}
		}
	}
	m.unknown = append(m.unknown, command)
	return []string{"ERROR"}
}

// startMM starts ModemManager and has it connect the modem.
func (d *desktop) startMM(card *modem) *stage.Process {
	d.t.Helper()
	argv := append(append([]string{}, d.env...), modemManager, "--test-enable", "--no-auto-scan")
	p := stage.Launch(d.t, d.bed.Client, exec.Command(argv[0], argv[1:]...))
	d.t.Cleanup(func() {
		if d.t.Failed() {
			card.mu.Lock()
			defer card.mu.Unlock()
			d.t.Logf("the modem does not know %q", card.unknown)
			d.t.Logf("ModemManager says:\n%s%s", p.Out, p.Log)
		}
	})
	call := append([]string{"busctl", "--address=unix:path=" + d.bus, "call", "org.freedesktop.ModemManager1", "/org/freedesktop/ModemManager1", "org.freedesktop.ModemManager1.Test", "SetProfile", "ssas", "mamma", "generic", fmt.Sprint(len(modemPorts))}, modemPorts...)
	stage.Until(d.t, "ModemManager runs", func() bool {
		return strings.Contains(d.try("busctl", "--address=unix:path="+d.bus, "tree", "org.freedesktop.ModemManager1"), "/org/freedesktop/ModemManager1")
	})
	d.run(call...)
	stage.Until(d.t, "ModemManager knows the modem", func() bool { return strings.Contains(d.try("mmcli", "-m", "any"), "disabled") })
	d.run("mmcli", "-m", "any", "--simple-connect=apn=internet")
	return p
}

// ModemManager's statements about a modem are shown, and count: where the modem roams,
// its network is expensive, and the next decision avoids it. The measurements belong to
// the operator. When ModemManager stops, nothing of that is left, until it runs again.
// The modem is emulated, ModemManager real; that its packets go over wwan0, as those of
// a modem with PPP go over ppp0, is said by a NetworkManager by script.
func TestModemManager(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs ModemManager")
	}
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wwan0"}, {Name: "wlan0"}}})
	d := newDesktop(t, bed, modemManager, "mmcli", "busctl")
	d.permitAll()
	card := d.newModem()
	var devices []map[string]any // ModemManager chooses which port carries packets
	for _, name := range modemPorts {
		devices = append(devices, map[string]any{"Interface": name, "IpInterface": "wwan0", "DeviceType": uint32(8)})
	}
	d.serve(nmName, nmObjects(devices...))

	state := t.TempDir()
	m := startBy(t, bed.Client, append(d.env, "STATE_DIRECTORY="+state))
	a := ask(t, bed, m, service)
	a.until("wwan0")
	service := d.startMM(card)
	fact := func(want bool, text string) {
		t.Helper()
		m.within(t, stage.Patience, func(p map[string]control.Prefix) string {
			shown := ""
			for _, f := range p["wwan0"].Facts {
				if f.Source == "ModemManager" {
					shown += f.Name + " " + f.Value + ", "
				}
			}
			if strings.Contains(shown, text) != want {
				return fmt.Sprintf("ModemManager says %q of wwan0, and %q is in that: not %v", shown, text, want)
			}
			return ""
		})
	}
	fact(true, "technology LTE, operator Example, signal 64 %, roaming no")

	began := time.Now()
	card.roam(true)
	t.Logf("decided anew %v after the modem roams", a.until("wlan0").Sub(began).Round(time.Millisecond))
	m.within(t, stage.Patience, func(p map[string]control.Prefix) string {
		if x := p["wwan0"]; x.Cost != "expensive" || x.CostSource == nil || *x.CostSource != "ModemManager" {
			return fmt.Sprintf("wwan0 costs %s, by %v", x.Cost, x.CostSource)
		}
		return ""
	})
	card.roam(false)
	a.until("wwan0")

	card.roam(true)
	a.until("wlan0")
	service.Signal(t, syscall.SIGTERM)
	<-service.Exited()
	a.until("wwan0") // the configuration's word again
	fact(false, "LTE")
	d.startMM(card)
	a.until("wlan0")
	fact(true, "roaming yes")

	m.Signal(t, syscall.SIGTERM)
	<-m.Exited()
	if kept, err := os.ReadFile(filepath.Join(state, "attachments.json")); err != nil || !strings.Contains(string(kept), `"modem Example"`) {
		t.Errorf("kept is\n%s\nand the error is %v", kept, err)
	}
}
