package system

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// getPatience is how much longer than usual 200 MB may take on a slow and busy machine.
const getPatience = 3 * time.Minute

// fetched is what mammactl get --json prints.
type fetched struct {
	Size     int64  `json:"size"`
	Protocol string `json:"protocol"`
	Split    bool   `json:"split"`
	Networks []struct {
		Name  string `json:"name"`
		Bytes int64  `json:"bytes"`
	} `json:"networks"`
}

// over returns how many networks brought something.
func (f *fetched) over() (n int) {
	for _, x := range f.Networks {
		if x.Bytes > 0 {
			n++
		}
	}
	return n
}

// library is a folder with one file for servers, and the file's digest.
type library struct{ dir, digest string }

// newLibrary makes a library that servers of any user can read. The file was last
// changed long ago, so that its date is a strong validator.
func newLibrary(t *testing.T, size int) library {
	t.Helper()
	dir, err := os.MkdirTemp("", "mamma-get")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	data := make([]byte, size)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(data)
	file := filepath.Join(dir, "file.bin")
	old := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, err := range []error{os.Chmod(dir, 0o755), os.WriteFile(file, data, 0o644), os.Chtimes(file, old, old)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return library{dir, fmt.Sprintf("sha-256:%x", sha256.Sum256(data))}
}

// twoNetworks returns a bed with a client on two networks, and a mamma there.
func twoNetworks(t *testing.T) (*testbed.Bed, *daemon) {
	t.Helper()
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0", SourceRule: true}, {Name: "wwan0", SourceRule: true}}})
	conf := "policy \"threshold\" {}\ninterface \"wlan0\" {\n  default = true\n  link_dns = false\n}\ninterface \"wwan0\" {\n  link_dns = false\n}\n"
	return bed, start(t, bed.Client, write(t, "policy.conf", conf))
}

// get starts "mammactl get" on the client.
func get(t *testing.T, bed *testbed.Bed, d *daemon, args ...string) *stage.Process {
	t.Helper()
	return stage.Launch(t, bed.Client, exec.Command(filepath.Join(bin, "mammactl"), append([]string{"get", "--json", "--socket", d.socket}, args...)...))
}

// result waits for the end of p, which must be a success, and returns what p has
// printed.
func result(t *testing.T, p *stage.Process) (f fetched) {
	t.Helper()
	select {
	case <-p.Exited():
	case <-time.After(getPatience):
	}
	if code := p.Wait(t); code != 0 {
		t.Fatalf("exit status %d\n%s", code, p.Log)
	}
	if err := json.Unmarshal([]byte(p.Out.String()), &f); err != nil {
		t.Fatalf("%v\n%s", err, p.Out)
	}
	return f
}

// webServer is a web server by others.
type webServer struct {
	program string // name of the program; "": Go's own server, in the test bed
	config  string // DIR, STATE, PORT, CERT and KEY are replaced
	args    []string
	secure  bool
	// protocol is what the server speaks. split tells whether its file comes over both
	// networks.
	protocol string
	split    bool
}

const nginxConf = `daemon off;
pid STATE/pid;
error_log STATE/error.log;
events {}
http {
  access_log off;
  client_body_temp_path STATE/body;
  proxy_temp_path STATE/proxy;
  fastcgi_temp_path STATE/fastcgi;
  uwsgi_temp_path STATE/uwsgi;
  scgi_temp_path STATE/scgi;
  MORE
}
`

const apacheConf = `ServerRoot STATE
ServerName server.test
PidFile STATE/pid
ErrorLog STATE/error.log
Listen PORT
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
User www-data
Group www-data
DocumentRoot DIR
`

// webServers are servers that serve files unchanged, and a cache that does not know
// ranges.
func webServers() map[string]webServer {
	nginx := func(more string) string { return strings.Replace(nginxConf, "MORE", more, 1) }
	run := []string{"-p", "STATE", "-e", "STATE/error.log", "-c", "STATE/config"}
	return map[string]webServer{
		"Go's FileServer": {protocol: "HTTP/1.1", split: true},
		"nginx":           {program: "nginx", config: nginx("server { listen PORT; root DIR; }"), args: run, protocol: "HTTP/1.1", split: true},
		"nginx, HTTP/2": {
			program: "nginx", config: nginx("server { listen PORT ssl http2; ssl_certificate CERT; ssl_certificate_key KEY; root DIR; }"),
			args: run, secure: true, protocol: "HTTP/2.0", split: true,
		},
		"Apache": {program: "apache2", config: apacheConf, args: []string{"-X", "-f", "STATE/config"}, protocol: "HTTP/1.1", split: true},
		"Caddy":  {program: "caddy", args: []string{"file-server", "--root", "DIR", "--listen", ":PORT"}, protocol: "HTTP/1.1", split: true},
		"a cache that ignores ranges": {
			program: "nginx", args: run, protocol: "HTTP/1.1",
			config: nginx(`proxy_cache_path STATE/cache keys_zone=c:1m;
  server { listen PORT; max_ranges 0; location / { proxy_pass http://192.0.2.1/files/; proxy_cache c; proxy_cache_valid 1h; } }`),
		},
	}
}

// start starts the server in the service's namespace and returns the URL of the
// library's file.
func (w webServer) start(t *testing.T, bed *testbed.Bed, l library, port int, cert, key string) string {
	t.Helper()
	if w.program == "" {
		return "http://192.0.2.1/files/file.bin"
	}
	path, err := exec.LookPath(w.program)
	if err != nil {
		t.Skipf("needs the program %s: %v", w.program, err)
	}
	state, err := os.MkdirTemp("", "mamma-get-"+w.program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(state) })
	if err := os.Chmod(state, 0o755); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("DIR", l.dir, "STATE", state, "PORT", strconv.Itoa(port), "CERT", cert, "KEY", key).Replace
	if err := os.WriteFile(filepath.Join(state, "config"), []byte(fill(w.config)), 0o600); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, a := range w.args {
		args = append(args, fill(a))
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "HOME="+state, "XDG_DATA_HOME="+state, "XDG_CONFIG_HOME="+state)
	p := stage.Launch(t, bed.Service.Namespace, cmd)
	address := net.JoinHostPort("192.0.2.1", strconv.Itoa(port))
	stage.Until(t, w.program+" serves", func() bool {
		select {
		case <-p.Exited():
			log, _ := os.ReadFile(filepath.Join(state, "error.log"))
			t.Fatalf("%s ended:\n%s%s%s", w.program, p.Out, p.Log, log)
		default:
		}
		c, err := bed.Service.DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	t.Cleanup(func() { // a master process also ends its workers
		_ = p.Cmd.Process.Signal(syscall.SIGTERM)
		<-p.Exited()
	})
	if w.secure {
		return "https://" + address + "/file.bin"
	}
	return "http://" + address + "/file.bin"
}

// Servers by others send the file over both networks, each byte once. A server that
// cannot do that sends it over one network.
func TestGetFromServers(t *testing.T) {
	bed, d := twoNetworks(t)
	l := newLibrary(t, 20_000_000)
	bed.Service.HTTP.Mux.Handle("/files/", http.StripPrefix("/files/", http.FileServer(http.Dir(l.dir))))
	cert, key := certificateOf(t, l.dir)
	port := 8080
	for name, w := range webServers() {
		port++
		t.Run(name, func(t *testing.T) {
			url := w.start(t, bed, l, port, cert, key)
			file := filepath.Join(t.TempDir(), "got")
			args := []string{"-o", file, "--digest", l.digest, url}
			if w.secure {
				args = append(args, "--cacert", cert)
			}
			f := result(t, get(t, bed, d, args...))
			if f.Size != 20_000_000 || f.Protocol != w.protocol || f.Split != w.split || w.split && f.over() != 2 {
				t.Errorf("%+v", f)
			}
		})
	}
}

// certificateOf makes a certificate for the service. It returns the files of the
// certificate and of its key.
func certificateOf(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	raw, err := x509.CreateCertificate(crand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: raw}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// If a server states another length than it sends, the result is an error and no file.
func TestGetFromLiar(t *testing.T) {
	bed, d := twoNetworks(t)
	data := bytes.Repeat([]byte("x"), 3_000_000)
	for name, claim := range map[string]int{"too long": len(data) + 500_000, "much too long": 1 << 40} {
		t.Run(name, func(t *testing.T) {
			path := fmt.Sprintf("/liar-%d", claim)
			bed.Service.HTTP.Mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", `"one"`)
				from, to := 0, claim-1
				if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); n > 0 {
					w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, min(to, claim-1), claim))
					w.Header().Set("Content-Length", strconv.Itoa(min(to, claim-1)-from+1))
					w.WriteHeader(http.StatusPartialContent)
				} else {
					w.Header().Set("Content-Length", strconv.Itoa(claim))
				}
				_, _ = w.Write(data[min(from, len(data)):min(to+1, len(data))])
			})
			file := filepath.Join(t.TempDir(), "got")
			p := get(t, bed, d, "--max-time", "15s", "-o", file, "http://192.0.2.1"+path)
			if code := p.Wait(t); code == 0 {
				t.Errorf("exit status 0\n%s", p.Out)
			}
			if _, err := os.Stat(file); err == nil {
				t.Error("there is a file")
			}
		})
	}
}

// A file of 200 MB arrives complete, whichever network dies in the middle, and however
// it dies: its link goes down, or nothing passes any more.
func TestGetThroughDeath(t *testing.T) {
	l := newLibrary(t, 200_000_000)
	for _, test := range []struct {
		network, how string
		death        func(*testing.T, *testbed.Bed, *testbed.Network)
	}{
		{"wlan0", "goes down", takeDown}, {"wwan0", "goes down", takeDown},
		{"wlan0", "falls silent", silence}, {"wwan0", "falls silent", silence},
	} {
		t.Run(test.network+" "+test.how, func(t *testing.T) {
			bed, d := twoNetworks(t)
			files, died := http.StripPrefix("/files/", http.FileServer(http.Dir(l.dir))), make(chan struct{})
			var sent atomic.Int64
			bed.Service.HTTP.Mux.HandleFunc("/files/", func(w http.ResponseWriter, r *http.Request) {
				files.ServeHTTP(&halfway{w, &sent, died}, r)
			})
			dir, err := os.MkdirTemp("", "mamma-got")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			file := filepath.Join(dir, "got")
			p := get(t, bed, d, "-o", file, "--digest", l.digest, "http://192.0.2.1/files/file.bin")
			stage.Until(t, "a quarter has come", func() bool {
				var s syscall.Stat_t
				return syscall.Stat(file+".part", &s) == nil && s.Blocks*512 > 50_000_000
			})
			test.death(t, bed, bed.Network(test.network))
			close(died)
			f := result(t, p)
			if f.Size != 200_000_000 || !f.Split || f.over() != 2 {
				t.Errorf("%+v", f)
			}
		})
	}
}

// halfway sends at most half of the file until the network has died.
type halfway struct {
	http.ResponseWriter
	sent *atomic.Int64
	died chan struct{}
}

func (h *halfway) Write(b []byte) (int, error) {
	if h.sent.Add(int64(len(b))) > 100_000_000 {
		<-h.died
	}
	return h.ResponseWriter.Write(b)
}

// takeDown takes the client's interface down.
func takeDown(t *testing.T, bed *testbed.Bed, n *testbed.Network) {
	t.Helper()
	link, err := bed.Client.Handle().LinkByName(n.Name)
	if err == nil {
		err = bed.Client.Handle().LinkSetDown(link)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// silence makes the network's gateway drop packets for the client.
func silence(t *testing.T, _ *testbed.Bed, n *testbed.Network) {
	t.Helper()
	if err := n.Server.Handle().RouteAdd(&netlink.Route{Dst: &net.IPNet{IP: n.Client4.AsSlice(), Mask: net.CIDRMask(32, 32)}, Type: syscall.RTN_BLACKHOLE}); err != nil {
		t.Fatal(err)
	}
}
