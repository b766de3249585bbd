package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// webbed starts "mammactl web" with these arguments and this environment. It returns
// the output up to the line with the link, and a function that ends the command.
func webbed(t *testing.T, path string, env map[string]string, args ...string) (link string, end func() (code int, errs string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	var errs bytes.Buffer
	a := &app{in: strings.NewReader(""), out: w, err: &errs, getenv: func(k string) string {
		if k == "MAMMA_CONTROL" {
			return path
		}
		return env[k]
	}, location: time.UTC, version: "0.1.0"}
	done := make(chan int, 1)
	go func() {
		code := a.run(ctx, append([]string{"web"}, args...))
		_ = w.Close()
		done <- code
	}()
	line := make([]byte, 4096)
	n, _ := r.Read(line)
	end = func() (int, string) {
		cancel()
		_ = r.Close()
		return <-done, errs.String()
	}
	return strings.TrimSpace(string(line[:n])), end
}

// The page is served until mammactl is interrupted, which is not an error.
func TestWeb(t *testing.T) {
	link, end := webbed(t, serve(t, newFake()), nil)
	at, token, ok := strings.Cut(link, "/#")
	if !ok || !strings.HasPrefix(at, "http://127.0.0.1:") || len(token) < 26 {
		t.Fatalf("it prints %q", link)
	}
	req, err := http.NewRequest(http.MethodGet, at+"/api/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != 200 || !bytes.Contains(b, []byte("threshold")) {
		t.Errorf("%d %s", resp.StatusCode, b)
	}
	if code, errs := end(); code != exitOK || errs != "" {
		t.Errorf("exit code %d, %q", code, errs)
	}
	if _, err := client.Do(req.Clone(t.Context())); err == nil {
		t.Error("it serves after its end")
	}
}

// The page waits if mamma does not run.
func TestWebWithoutDaemon(t *testing.T) {
	link, end := webbed(t, filepath.Join(t.TempDir(), "none"), nil, "--json")
	var v struct{ URL string }
	if err := json.Unmarshal([]byte(link), &v); err != nil || !strings.HasPrefix(v.URL, "http://127.0.0.1:") {
		t.Errorf("%q: %v", link, err)
	}
	if code, errs := end(); code != exitOK || !strings.Contains(errs, "no mamma answers") || !strings.Contains(errs, "the page waits for it") {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

// A message says if a port is taken or invalid.
func TestWebPort(t *testing.T) {
	path := serve(t, newFake())
	link, end := webbed(t, path, nil)
	_, port, _ := strings.Cut(strings.TrimPrefix(strings.Split(link, "/#")[0], "http://"), ":")
	if code, out, errs := mammactl(t.Context(), path, "web", "--port", port); code != exitError || out != "" || !strings.Contains(errs, "address already in use") {
		t.Errorf("a port that is taken: %d, %q, %q", code, out, errs)
	}
	_, _ = end()
	if code, _, errs := mammactl(t.Context(), path, "web", "--port", "70000"); code != exitUsage || !strings.Contains(errs, "--port") {
		t.Errorf("no port: %d, %q", code, errs)
	}
}

// Everybody can read the arguments of the browser, so they do not contain the link. A
// file leads to the link. Only the user can read it, and it is removed with the page.
func TestOpenHidesTheLink(t *testing.T) {
	dir := t.TempDir()
	said := filepath.Join(dir, "said")
	script := "#!/bin/sh\n{ printf '%s\\n' \"$@\"; stat -c %a \"$1\"; stat -c %a \"$(dirname \"$1\")\"; cat \"$1\"; } >" + said + ".part\nmv " + said + ".part " + said + "\n"
	if err := os.WriteFile(filepath.Join(dir, "xdg-open"), []byte(script), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	link, end := webbed(t, serve(t, newFake()), map[string]string{"XDG_RUNTIME_DIR": dir}, "--open")
	var text []byte
	for text == nil {
		text, _ = os.ReadFile(said)
		time.Sleep(time.Millisecond)
	}
	lines := strings.SplitN(string(text), "\n", 4)
	_, token, _ := strings.Cut(link, "#")
	if len(lines) != 4 || strings.Contains(lines[0], token) || lines[1] != "600" || lines[2] != "700" || !strings.Contains(lines[3], "url="+link+"\"") {
		t.Errorf("xdg-open was given %q", lines)
	}
	if code, errs := end(); code != exitOK || errs != "" {
		t.Errorf("exit code %d, %q", code, errs)
	}
	if _, err := os.Stat(lines[0]); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", lines[0], err)
	}

	t.Setenv("PATH", t.TempDir())
	_, end = webbed(t, serve(t, newFake()), map[string]string{"XDG_RUNTIME_DIR": dir}, "--open")
	if code, errs := end(); code != exitOK || errs != "" && !strings.Contains(errs, "open the link yourself") {
		t.Errorf("without xdg-open: exit code %d, %q", code, errs)
	}
}

// runOf parses the arguments of a run as the command run does.
func TestRunOf(t *testing.T) {
	a := &app{getenv: os.Getenv}
	for args, want := range map[string]string{
		"run curl -v URL": "curl -v URL|",
		"run --intents category=query -- rsync -a --intents x": "rsync -a --intents x|--intents category=query",
		"--json run -v curl":      "curl|--json -v",
		"run":                     "",
		"run --nonsense curl":     "",
		"run-supervisor 3 4":      "",
		"watch":                   "",
		"run --mptcp=true -- a b": "a b|--mptcp=true",
	} {
		got := ""
		if r, ok := a.runOf(strings.Fields(args)); ok {
			got = strings.Join(r.Program, " ") + "|" + strings.Join(r.Options, " ")
		}
		if got != want {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
}

// A program that runs under mammactl is found by the name of the executable and by its
// arguments. Other commands are not found. cat, with that name, takes the place of
// both: it reads a file that has the name of the command, and then its input.
func TestRuns(t *testing.T) {
	dir := t.TempDir()
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Skip("needs cat: ", err)
	}
	binary, err := os.ReadFile(cat) //nolint:gosec // a program of the host
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "mammactl")
	if err := os.WriteFile(program, binary, 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	pids := map[string]int{}
	for _, command := range []string{"run", "watch"} {
		if err := os.WriteFile(filepath.Join(dir, command), []byte("ready\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program)
		cmd.Args, cmd.Dir = []string{"mammactl", command, "-"}, dir
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = in.Close(), cmd.Wait() })
		if _, err := io.ReadFull(out, make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		pids[command] = cmd.Process.Pid
	}
	found := false
	for _, r := range (&app{getenv: os.Getenv}).runs() {
		switch r.PID {
		case pids["run"]:
			found = slices.Equal(r.Program, []string{"-"}) && len(r.Options) == 0 && r.UID == uint32(os.Getuid()) //nolint:gosec // the kernel's
		case pids["watch"]:
			t.Errorf("another command is taken for run: %+v", r)
		}
	}
	if !found {
		t.Error("the run is not found")
	}
}
