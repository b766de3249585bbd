package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decisions measures how many decisions the daemon makes in a second. Beside each build
// it also measures once how many exchanges two bare processes make, with messages of
// the same size.
func decisions(ctx context.Context, o *options, b *build) ([]figure, error) {
	out, err := o.load(ctx, "--clients", "1,8", "--mamma", filepath.Join(b.dir, "mamma"))
	if err != nil {
		return nil, err
	}
	bare, err := o.load(ctx, "--clients", "1,8", "--bare")
	if err != nil {
		return nil, err
	}
	var list []figure
	for i, row := range out {
		clients := row["clients"]
		rate, exchanges := row["decisions/s"], bare[i]["decisions/s"]
		list = append(list,
			figure{name: fmt.Sprintf("decisions/s, clients: %g", clients), value: rate},
			figure{name: fmt.Sprintf("bare exchanges/s, clients: %g", clients), value: exchanges, shared: true},
			figure{name: fmt.Sprintf("decisions to bare exchanges, clients: %g", clients), value: rate / exchanges},
			figure{name: fmt.Sprintf("p50 us, clients: %g", clients), value: row["p50 us"]},
			figure{name: fmt.Sprintf("p99.9 us, clients: %g", clients), value: row["p99.9 us"]},
		)
	}
	return list, nil
}

// host measures what the daemon takes while nobody asks it, beside numbers of
// established connections. It lets the daemon come to rest first, which measures less
// often then.
func host(ctx context.Context, o *options, b *build) ([]figure, error) {
	out, err := output(ctx, ".", o.mamload, "--clients", "1", "--established", o.established,
		"--settle", "40s", "--duration", max(o.duration, 10*time.Second).String(), "--mamma", filepath.Join(b.dir, "mamma"))
	if err != nil {
		return nil, err
	}
	rows, err := readTable(out)
	if err != nil {
		return nil, err
	}
	var list []figure
	for _, row := range rows {
		n := row["established"]
		list = append(list,
			figure{name: fmt.Sprintf("idle cpu %%, %g connections", n), value: row["idle cpu %"]},
			figure{name: fmt.Sprintf("MB, %g connections", n), value: row["MB"]},
			figure{name: fmt.Sprintf("decisions/s, %g connections", n), value: row["decisions/s"]},
		)
	}
	return list, nil
}

// load runs the load generator and reads its table: the columns of each row by name.
func (o *options) load(ctx context.Context, args ...string) ([]map[string]float64, error) {
	out, err := output(ctx, ".", o.mamload, append(args, "--duration", o.duration.String())...)
	if err != nil {
		return nil, err
	}
	return readTable(out)
}

// readTable reads a table whose columns are parted by two blanks and more.
func readTable(text string) ([]map[string]float64, error) {
	cells := func(line string) (list []string) {
		for c := range strings.SplitSeq(line, "  ") {
			if c = strings.TrimSpace(c); c != "" {
				list = append(list, c)
			}
		}
		return list
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	head := cells(lines[0])
	var rows []map[string]float64
	for _, line := range lines[1:] {
		values := cells(line)
		if len(values) != len(head) {
			return nil, fmt.Errorf("%d cells below %d columns: %q", len(values), len(head), line)
		}
		row := map[string]float64{}
		for i, v := range values {
			if v == "-" {
				continue
			}
			n, err := strconv.ParseFloat(v, 64)
			if err != nil {
				return nil, fmt.Errorf("column %s: %w", head[i], err)
			}
			row[head[i]] = n
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("no rows: %q", text)
	}
	return rows, nil
}

// dials runs the benchmark of dials that the build's own revision has, with its own
// client package and daemon.
func dials(ctx context.Context, o *options, b *build) ([]figure, error) {
	out, err := output(ctx, filepath.Join(b.src, "tests", "clientapi"), filepath.Join(b.dir, "dial.test"),
		"-test.run", "^$", "-test.bench", "BenchmarkDial$", "-test.benchtime", fmt.Sprintf("%dx", o.dials))
	if err != nil {
		return nil, err
	}
	m, err := readBenchmark(out, "BenchmarkDial")
	if err != nil {
		return nil, err
	}
	var list []figure
	for _, unit := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(unit, "added") {
			list = append(list, figure{name: "dial, " + strings.ReplaceAll(unit, "_", " "), value: m[unit]})
		}
	}
	if echo := m["added_by_echo_us"]; echo > 0 {
		list = append(list, figure{name: "dial, added to that of an echo", value: m["added_us"] / echo})
	}
	return list, nil
}

// readBenchmark reads the values of a benchmark by their units.
func readBenchmark(text, name string) (map[string]float64, error) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 || f[0] != name && !strings.HasPrefix(f[0], name+"-") {
			continue // "-2" is the number of processors
		}
		m := map[string]float64{}
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f[i+1], err)
			}
			m[f[i+1]] = v
		}
		return m, nil
	}
	return nil, fmt.Errorf("no %s in %q", name, text)
}

// sizes are the sizes of the programs.
func sizes(_ context.Context, _ *options, b *build) ([]figure, error) {
	var list []figure
	for _, name := range []string{"mamma", "mammactl", "muacsocksd"} {
		fi, err := os.Stat(filepath.Join(b.dir, name))
		if err != nil {
			return nil, err
		}
		list = append(list, figure{name: name + ", MB", value: float64(fi.Size()) / 1e6})
	}
	return list, nil
}
