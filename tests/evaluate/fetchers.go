package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/evaluate/report"
	"github.com/socket-intents/mamma/tests/evaluate/simulate"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// fetchFiles evaluates downloads over both networks, and nothing else.
func (e *evaluation) fetchFiles(ctx context.Context, out io.Writer) error {
	text, err := downloadsReport(ctx, e.progress)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "%s\n%s\n", e.machine, text); err != nil {
		return err
	}
	live, err := e.beside(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", live)
	return err
}

// fetcher is a program that fetches a file.
type fetcher struct {
	name    string
	program string // that must be there; "": ours
	args    func(r *fileRig, url, file string) []string
}

// fetchers are compared; the first two are each network alone.
func fetchers() []fetcher {
	over := func(n int) func(*fileRig, string, string) []string {
		return func(r *fileRig, url, file string) []string {
			return []string{"curl", "-sSf", "--interface", r.bed.Networks[n].Name, "-o", file, url}
		}
	}
	get := func(more ...string) func(*fileRig, string, string) []string {
		return func(r *fileRig, url, file string) []string {
			return append([]string{r.mammactl, "get", "-q", "--socket", r.daemon.Socket, "-o", file, url}, more...)
		}
	}
	return []fetcher{
		{"curl, net 1", "curl", over(0)},
		{"curl, net 2", "curl", over(1)},
		{"aria2c, both", "aria2c", func(r *fileRig, url, file string) []string {
			return []string{
				"aria2c", "-q", "--no-conf", "--file-allocation=none", "--multiple-interface=" + r.bed.Networks[0].Name + "," + r.bed.Networks[1].Name,
				"-x4", "-s4", "-k1M", "-d", filepath.Dir(file), "-o", filepath.Base(file), url,
			}
		}},
		{"mammactl get --one-network", "", get("--one-network")},
		{"mammactl get", "", get()},
	}
}

// fileRig is a client with two emulated networks, a server of one file, and a mamma.
type fileRig struct {
	bed      *testbed.Bed
	daemon   *stage.Daemon
	mammactl string
	dir      string
}

// beside fetches the file over emulated links by each program in turn, as often as the
// plan says.
func (e *evaluation) beside(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "evaluate-get")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	mamma, err := stage.Build(ctx, dir)
	if err != nil {
		return "", err
	}
	mammactl, err := stage.BuildProgram(ctx, dir, "mammactl")
	if err != nil {
		return "", err
	}
	t := &report.Table{Head: []string{"networks"}}
	for _, f := range fetchers() {
		t.Head = append(t.Head, f.name)
	}
	t.Head = append(t.Head, "times the better net's rate", "one network, times curl's")
	for _, d := range downloads()[:5] { // those in which nothing happens midway
		r, err := newFileRig(ctx, d.pair, mamma, mammactl, filepath.Join(dir, d.name))
		if err != nil {
			return "", err
		}
		row, err := e.row(ctx, r, d.pair)
		r.close()
		if err != nil {
			return "", err
		}
		t.Add(row...)
		e.progress("downloads over emulated links: %s: %q", d.name, row)
	}
	return fmt.Sprintf("The same over emulated links, %d times each, in turn: seconds, medians with their 95 %% intervals.\n\n%s", e.plan.repeats, t.Markdown()), nil
}

func newFileRig(ctx context.Context, pair simulate.Pair, mamma, mammactl, dir string) (_ *fileRig, err error) {
	config := testbed.Config{Congestion: "cubic"}
	text := "policy \"adaptive\" {}\n"
	for i, p := range pair {
		shape := func(mbps, loss float64) testbed.Shape {
			return testbed.Shape{Rate: testbed.BitRate(mbps) * testbed.Mbit, Delay: p.RTT / 2, Queue: int(mbps * 1e6 / 8 * 0.15), Loss: loss}
		}
		name := fmt.Sprintf("net%d", i+1)
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i + 1), 0, 2}), 24)
		config.Networks = append(config.Networks, testbed.NetworkConfig{
			Name: name, Prefix4: prefix, SourceRule: true, Emulate: &testbed.LinkConfig{Down: shape(p.Mbps, p.Loss), Up: shape(20, 0)},
		})
		text += fmt.Sprintf("interface %q {\n  default = %v\n  link_dns = false\n}\n", name, i == 0)
	}
	r := &fileRig{mammactl: mammactl, dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if r.bed, err = testbed.New(config); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "file")
	old := time.Now().Add(-time.Hour)
	if err = os.WriteFile(file, make([]byte, fileSize), 0o600); err == nil {
		err = os.Chtimes(file, old, old) // the date is a validator then
	}
	if err == nil {
		r.bed.Service.HTTP.Mux.Handle("/files/", http.StripPrefix("/files/", http.FileServer(http.Dir(dir))))
		r.daemon, err = stage.StartDaemon(ctx, r.bed.Client, mamma, dir, "mamma", text)
	}
	if err != nil {
		r.bed.Close()
		return nil, err
	}
	return r, nil
}

func (r *fileRig) close() {
	_ = r.daemon.Stop() // it is killed with the bed else
	r.bed.Close()
}

// row fetches the file by all programs, and renders how long that took.
func (e *evaluation) row(ctx context.Context, r *fileRig, pair simulate.Pair) ([]string, error) {
	seconds := make([][]float64, len(fetchers()))
	for range e.plan.repeats {
		for i, f := range fetchers() {
			if f.program != "" {
				if _, err := exec.LookPath(f.program); err != nil {
					e.skipped(f.name, err)
					continue
				}
			}
			took, err := r.fetch(ctx, f)
			if err != nil {
				return nil, fmt.Errorf("%s over %s: %w", f.name, pair, err)
			}
			seconds[i] = append(seconds[i], took.Seconds())
		}
	}
	row := []string{pair.String()}
	var medians []float64
	for _, s := range seconds {
		m := report.MedianOf(s)
		medians = append(medians, m.Median)
		row = append(row, m.String())
	}
	better := min(medians[0], medians[1])
	return append(row, report.Number(better/medians[4]), report.Number(better/medians[3])), nil
}

func (r *fileRig) fetch(ctx context.Context, f fetcher) (time.Duration, error) {
	file := filepath.Join(r.dir, "got")
	defer func() { _ = os.Remove(file) }()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	argv := f.args(r, "http://192.0.2.1/files/file", file)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	begun := time.Now()
	cmd.Stderr = os.Stderr
	if err := r.bed.Client.Start(cmd); err != nil {
		return 0, err
	}
	if err := cmd.Wait(); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	info, err := os.Stat(file)
	if err == nil && info.Size() != fileSize {
		err = fmt.Errorf("%d bytes", info.Size())
	}
	return took, err
}
