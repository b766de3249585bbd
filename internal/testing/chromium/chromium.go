// Package chromium drives a headless Chromium by the DevTools protocol over a pipe. It
// is for tests of pages and for pictures of them.
package chromium

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrUnavailable means that no browser is installed.
var ErrUnavailable = errors.New("needs chromium")

// closeTimeout is how long the browser may take to end.
const closeTimeout = 10 * time.Second

// Browser is a running browser without data of an earlier run.
type Browser struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	home   string
	ended  chan struct{} // closed when the pipe has ended
	reaped chan struct{}

	mu      sync.Mutex // guards what follows, and writing
	last    int
	waiting map[int]chan reply
	pages   map[string]*Page // by session
}

type reply struct {
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// Start starts the browser. start is called in place of Cmd.Start, for instance to
// start it in another network namespace; it may be nil. The browser's files are created
// below dir.
func Start(dir string, start func(*exec.Cmd) error) (_ *Browser, err error) {
	program, err := exec.LookPath("chromium")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	home, err := os.MkdirTemp(dir, "chromium")
	if err != nil {
		return nil, fmt.Errorf("start chromium: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start chromium: %w", err), os.RemoveAll(home))
		}
	}()
	theirIn, ourIn, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	ourOut, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirIn.Close(), ourIn.Close())
	}
	cmd := exec.Command("nice", "-n", "19", program,
		"--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--disable-breakpad", "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-proxy-server",
		"--disable-features=OptimizationHints,Translate", "--user-data-dir="+filepath.Join(home, "data"), "--remote-debugging-pipe", "about:blank")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.Contains(strings.ToLower(e), "_proxy=") }), "HOME="+home, "TMPDIR="+home)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // descriptors 3 and 4, which the browser uses
	if start == nil {
		start = (*exec.Cmd).Start
	}
	err = start(cmd)
	_, _ = theirIn.Close(), theirOut.Close()
	if err != nil {
		return nil, errors.Join(err, ourIn.Close(), ourOut.Close())
	}
	b := &Browser{
		cmd: cmd, in: ourIn, home: home, ended: make(chan struct{}), reaped: make(chan struct{}),
		waiting: map[int]chan reply{}, pages: map[string]*Page{},
	}
	go func() {
		defer close(b.reaped)
		_ = cmd.Wait() // the exit status does not matter
	}()
	go b.read(ourOut)
	return b, nil
}

// Close ends the browser and removes its files.
func (b *Browser) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_, _ = b.call(ctx, "", "Browser.close", nil) // the reply does not matter
	select {
	case <-b.reaped:
	case <-ctx.Done():
		_ = b.cmd.Process.Kill()
		<-b.reaped
	}
	_ = b.in.Close()
	<-b.ended
	// Its last child process may still be writing.
	var err error
	for range 50 {
		if err = os.RemoveAll(b.home); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// read reads replies and events until the browser ends.
func (b *Browser) read(out *os.File) {
	defer close(b.ended)
	defer func() { _ = out.Close() }()
	r := bufio.NewReader(out)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID        int             `json:"id"`
			Session   string          `json:"sessionId"`
			Method    string          `json:"method"`
			Arguments json.RawMessage `json:"params"`
			reply
		}
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			return
		}
		b.mu.Lock()
		if c := b.waiting[m.ID]; c != nil && m.Method == "" {
			delete(b.waiting, m.ID)
			c <- m.reply
		} else if p := b.pages[m.Session]; p != nil {
			p.hearLocked(m.Method, m.Arguments)
		}
		b.mu.Unlock()
	}
}

// call calls a method of the browser, or of one of its sessions.
func (b *Browser) call(ctx context.Context, session, method string, arguments any) (json.RawMessage, error) {
	c := make(chan reply, 1)
	b.mu.Lock()
	b.last++
	id := b.last
	message := map[string]any{"id": id, "method": method}
	if arguments != nil {
		message["params"] = arguments
	}
	if session != "" {
		message["sessionId"] = session
	}
	text, err := json.Marshal(message)
	if err == nil {
		b.waiting[id] = c
		_, err = b.in.Write(append(text, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	select {
	case r := <-c:
		if r.Error != nil {
			return nil, fmt.Errorf("%s: %s", method, r.Error.Message)
		}
		return r.Result, nil
	case <-b.ended:
		return nil, fmt.Errorf("%s: the browser has ended", method)
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", method, ctx.Err())
	}
}

// Page is a page in the browser.
type Page struct {
	b       *Browser
	session string

	complaints []string // guarded by Browser.mu
}

// Open opens a page at a URL.
func (b *Browser) Open(ctx context.Context, url string) (*Page, error) {
	var target struct {
		ID string `json:"targetId"`
	}
	if err := b.do(ctx, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		return nil, err
	}
	var attached struct {
		Session string `json:"sessionId"`
	}
	if err := b.do(ctx, "", "Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &attached); err != nil {
		return nil, err
	}
	p := &Page{b: b, session: attached.Session}
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	for _, method := range []string{"Runtime.enable", "Log.enable", "Page.enable", "Network.enable"} {
		if err := p.do(ctx, method, nil, nil); err != nil {
			return nil, err
		}
	}
	return p, p.Go(ctx, url)
}

func (b *Browser) do(ctx context.Context, session, method string, arguments, result any) error {
	raw, err := b.call(ctx, session, method, arguments)
	if err == nil && result != nil {
		err = json.Unmarshal(raw, result)
	}
	return err
}

func (p *Page) do(ctx context.Context, method string, arguments, result any) error {
	return p.b.do(ctx, p.session, method, arguments, result)
}

// Go opens a URL in the page.
func (p *Page) Go(ctx context.Context, url string) error {
	return p.do(ctx, "Page.navigate", map[string]any{"url": url}, nil)
}

// Eval evaluates an expression. If the value is a promise, Eval waits for it. The
// result is decoded into v, unless v is nil.
func (p *Page) Eval(ctx context.Context, expression string, v any) error {
	var r struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	if err := p.do(ctx, "Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &r); err != nil {
		return err
	}
	if x := r.Exception; x != nil {
		return fmt.Errorf("%s: %s %s", expression, x.Text, x.Exception.Description)
	}
	if v == nil || len(r.Result.Value) == 0 {
		return nil
	}
	return json.Unmarshal(r.Result.Value, v)
}

// Await waits until the expression condition is true.
func (p *Page) Await(ctx context.Context, condition string) error {
	for {
		ok := false
		err := p.Eval(ctx, "!!("+condition+")", &ok)
		if ok {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s is not so: %w", condition, errors.Join(ctx.Err(), err))
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// Show sets the size of the window in pixels, and the light or the dark colour scheme.
func (p *Page) Show(ctx context.Context, width, height int, dark bool) error {
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	return errors.Join(
		p.do(ctx, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil),
		p.do(ctx, "Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil))
}

// Prefer sets a feature of the user's preferences, such as prefers-reduced-motion. All
// other preferences get the browser's own values again, also the colour scheme.
func (p *Page) Prefer(ctx context.Context, feature, value string) error {
	return p.do(ctx, "Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": feature, "value": value}}}, nil)
}

// Node is what a screen reader is told of an element.
type Node struct {
	Role      string // as in ARIA, or the browser's own for what has none there
	Name      string
	Focusable bool
	Parent    int // its place in the list; -1: none
}

// Accessibility returns the accessibility tree, without what a screen reader is not told
// of. Parents come before their children.
func (p *Page) Accessibility(ctx context.Context) ([]Node, error) {
	type value struct {
		Value any `json:"value"`
	}
	var r struct {
		Nodes []struct {
			ID         string   `json:"nodeId"`
			Children   []string `json:"childIds"`
			Ignored    bool     `json:"ignored"`
			Role, Name value
			Properties []struct {
				Name  string
				Value value
			}
		}
	}
	if err := p.do(ctx, "Accessibility.getFullAXTree", nil, &r); err != nil {
		return nil, err
	}
	var list []Node
	place := map[string]int{} // of the nearest ancestor that is told of
	for _, n := range r.Nodes {
		at, ok := place[n.ID]
		if !ok {
			at = -1
		}
		if !n.Ignored {
			node := Node{Role: fmt.Sprint(n.Role.Value), Name: strings.TrimSpace(fmt.Sprint(n.Name.Value)), Parent: at}
			if n.Name.Value == nil {
				node.Name = ""
			}
			for _, q := range n.Properties {
				if q.Name == "focusable" {
					node.Focusable = q.Value.Value == true
				}
			}
			at = len(list)
			list = append(list, node)
		}
		for _, c := range n.Children {
			place[c] = at
		}
	}
	return list, nil
}

// Screenshot returns a picture of the window as PNG.
func (p *Page) Screenshot(ctx context.Context) ([]byte, error) {
	var r struct {
		Data string `json:"data"`
	}
	if err := p.do(ctx, "Page.captureScreenshot", map[string]any{"format": "png"}, &r); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(r.Data)
}

// Press presses a key by its name, such as Tab, Enter or Escape.
func (p *Page) Press(ctx context.Context, key string) error {
	code, text := map[string]int{"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}[key], map[string]string{"Enter": "\r", " ": " "}[key]
	a := map[string]any{"type": "keyDown", "key": key, "windowsVirtualKeyCode": code}
	if text != "" {
		a["text"] = text
	}
	return errors.Join(p.do(ctx, "Input.dispatchKeyEvent", a, nil),
		p.do(ctx, "Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}, nil))
}

// Complaints returns what scripts and the browser complained about: errors, exceptions,
// and what the page's security policy refused.
func (p *Page) Complaints() []string {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	return slices.Clone(p.complaints)
}

// maxComplaints limits the number of complaints that are kept.
const maxComplaints = 100

func (p *Page) hearLocked(method string, arguments json.RawMessage) {
	if len(p.complaints) == maxComplaints {
		return
	}
	switch method {
	case "Log.entryAdded":
		var a struct {
			Entry struct{ Level, Text, URL string } `json:"entry"`
		}
		if json.Unmarshal(arguments, &a) == nil && (a.Entry.Level == "error" || a.Entry.Level == "warning") {
			p.complaints = append(p.complaints, a.Entry.Text+" "+a.Entry.URL)
		}
	case "Runtime.exceptionThrown":
		p.complaints = append(p.complaints, string(arguments))
	case "Runtime.consoleAPICalled":
		var a struct {
			Type string `json:"type"`
		}
		if json.Unmarshal(arguments, &a) == nil && (a.Type == "error" || a.Type == "warning" || a.Type == "assert") {
			p.complaints = append(p.complaints, string(arguments))
		}
	}
}
