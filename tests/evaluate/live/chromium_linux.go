package live

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

// Chromium loads pages with a browser that knows nothing about networks, through
// muacsocksd, which learns from experience how large what a host serves is.
type Chromium struct {
	program string // the browser
	rig     *Rig
	dir     string
	proxies map[string]string // addresses, by way
	running []*exec.Cmd
	done    chan float64

	mu   sync.Mutex // guards what follows
	page workload.Page
}

// ErrNoChromium says that there is no browser.
var ErrNoChromium = errors.New("needs chromium")

// pageHosts is the zone with the hosts of pages.
func pageHosts() testbed.Zone {
	zone := testbed.Zone{}
	for i := range hosts {
		zone[hostName(i)] = []string{"A " + testbed.ServiceAddr4.String()}
	}
	return zone
}

func hostName(i int) string { return fmt.Sprintf("h%d.example.net", i) }

// pageTemplate loads the objects of a page as they depend on each other, and
// tells how long that took since the navigation began.
//
//go:embed page.html
var pageTemplate string

// NewChromium prepares a rig for the browser: a muacsocksd, by the given program,
// for the daemon of each policy. There can be one for a rig.
func NewChromium(r *Rig, muacsocksd, dir string) (_ *Chromium, err error) {
	program, err := exec.LookPath("chromium")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoChromium, err)
	}
	c := &Chromium{program: program, rig: r, dir: dir, proxies: map[string]string{}, done: make(chan float64, 1)}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	mux := r.bed.Service.HTTP.Mux
	mux.HandleFunc("GET /page", c.servePage)
	mux.HandleFunc("GET /object/{n}/{which}", serveObject)
	mux.HandleFunc("GET /done/{ms}", c.serveDone)
	port := 9050
	for name, d := range r.daemons {
		address := fmt.Sprintf("127.0.0.1:%d", port) // the namespace has nobody else
		port++
		cmd := exec.Command(muacsocksd, "--listen", address, "--socket", d.Socket)
		if err := r.bed.Client.Start(cmd); err != nil {
			return nil, fmt.Errorf("proxy for %s: %w", name, err)
		}
		c.running = append(c.running, cmd)
		c.proxies[name] = address
	}
	return c, nil
}

// Close ends the proxies.
func (c *Chromium) Close() {
	for _, cmd := range c.running {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
}

// Load loads a page by the way of a policy, with a browser that has nothing of
// an earlier run, and returns the seconds it took.
func (c *Chromium) Load(ctx context.Context, way string, page workload.Page) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	home, err := os.MkdirTemp(c.dir, "chromium")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(home) }()
	c.mu.Lock()
	c.page = page
	c.mu.Unlock()
	for len(c.done) > 0 { // of a load that was given up
		<-c.done
	}
	// It leaves the processor to the others: a manager that takes 50 ms for an
	// answer is not asked for a while.
	cmd := exec.CommandContext(ctx, "nice", "-n", "19", c.program,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-breakpad", "--disable-extensions", "--remote-debugging-port=0",
		"--disable-features=HttpsUpgrades,OptimizationHints", "--user-data-dir="+filepath.Join(home, "data"),
		"--proxy-server=socks5://"+c.proxies[way], "--proxy-bypass-list=<-loopback>", "http://"+hostName(0)+"/page")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.Contains(strings.ToLower(e), "_proxy=") }), "HOME="+home)
	cmd.WaitDelay = 10 * time.Second
	if err := c.rig.bed.Client.Start(cmd); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	go func() {
		err = cmd.Wait()
		close(ended)
	}()
	select {
	case seconds := <-c.done:
		cancel()
		<-ended // it was killed
		return seconds, nil
	case <-ended:
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return 0, fmt.Errorf("the browser ended before the page was complete: %w", err)
	}
}

func (c *Chromium) servePage(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	page := c.page
	c.mu.Unlock()
	type object struct {
		URL   string `json:"url"`
		After int    `json:"after"`
	}
	var list []object
	for i, o := range page.Objects {
		list = append(list, object{fmt.Sprintf("http://%s/object/%d/%d", hostName(o.Host), o.Size, i), o.After})
	}
	text, err := json.Marshal(list)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	body := strings.Replace(pageTemplate, "OBJECTS", string(text), 1)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(body)) // the client is gone then
}

func serveObject(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || n < 0 || n > 100<<20 {
		http.Error(w, "not a number of bytes", http.StatusBadRequest)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(n))
	_, _ = w.Write(make([]byte, n)) // the client is gone then
}

func (c *Chromium) serveDone(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	ms, err := strconv.ParseFloat(r.PathValue("ms"), 64)
	if err != nil {
		http.Error(w, "not a number", http.StatusBadRequest)
		return
	}
	select {
	case c.done <- ms / 1000:
	default: // nobody waits
	}
}
