package metrics

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/network/mptcp"
)

// folder holds the files that users import.
const folder = "../../../../doc/grafana"

// served returns the metrics that the daemon serves, with the names of their labels.
func served(t *testing.T) (names map[string][]string, text string) {
	t.Helper()
	m := full()
	m.AddMPTCP(func() (mptcp.Counters, error) {
		return mptcp.Counters{Fallbacks: map[string]uint64{"DssFallback": 1}}, nil
	})
	m.AddScopes(func() (Scopes, bool) { return Scopes{}, true })
	sample := regexp.MustCompile(`^(mamma_\w+)(?:\{(.*)\})? \S+\n$`)
	label := regexp.MustCompile(`(\w+)="(?:[^"\\]|\\.)*"`)
	names = map[string][]string{}
	for _, line := range scrape(t, m) {
		text += line
		if x := sample.FindStringSubmatch(line); x != nil {
			labels := []string{"instance", "job"} // of the scrape itself
			for _, l := range label.FindAllStringSubmatch(x[2], -1) {
				labels = append(labels, l[1])
			}
			names[x[1]] = labels
		}
	}
	return names, text
}

// dashboard is the part of a dashboard's model that the test looks at (Grafana, "JSON
// model").
type dashboard struct {
	UID        string `json:"uid"`
	Templating struct {
		List []struct {
			Name  string `json:"name"`
			Query any    `json:"query"`
		} `json:"list"`
	} `json:"templating"`
	Panels []struct {
		ID                 int
		Type, Title        string
		Description        string
		GridPos            struct{ X, Y, W, H int }
		Datasource         map[string]string
		Targets            []struct{ RefID, Expr, LegendFormat string }
		FieldConfig        struct{ Defaults map[string]any }
		Options, Transform any
	} `json:"panels"`
}

func readDashboard(t *testing.T) *dashboard {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "mamma.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return &d
}

var (
	metricName = regexp.MustCompile(`\bmamma_\w+`)
	selector   = regexp.MustCompile(`(mamma_\w+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	grouping   = regexp.MustCompile(`\bby \(([^)]*)\)`)
	placed     = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}`)
)

// check returns the metrics and labels that are not served, among those of an expression
// and of a text about its result.
func check(names map[string][]string, expr, text string) (wrong []string) {
	var labels []string
	for _, n := range metricName.FindAllString(expr, -1) {
		l, ok := names[n]
		if !ok {
			wrong = append(wrong, n+" is not served")
		}
		labels = append(labels, l...)
	}
	for _, s := range selector.FindAllStringSubmatch(expr, -1) {
		for _, l := range matcher.FindAllStringSubmatch(s[2], -1) {
			if !slices.Contains(names[s[1]], l[1]) {
				wrong = append(wrong, s[1]+" has no label "+l[1])
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		labels = slices.DeleteFunc(labels, func(l string) bool { return !slices.Contains(strings.Split(g[1], ", "), l) })
	}
	for _, p := range placed.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(labels, p[1]) {
			wrong = append(wrong, "the result has no label "+p[1])
		}
	}
	return wrong
}

// The dashboard uses only metrics and labels that the daemon serves, and it leaves out no
// metric of a network.
func TestDashboard(t *testing.T) {
	names, _ := served(t)
	d := readDashboard(t)
	if d.UID == "" || len(d.Panels) < 10 {
		t.Fatalf("uid %q, %d panels", d.UID, len(d.Panels))
	}
	ids := map[int]bool{}
	var asked strings.Builder
	for i, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || p.Description == "" || len(p.Targets) == 0 || p.Datasource["uid"] != "${datasource}" {
			t.Errorf("panel %d %q: a number twice, or something is missing", p.ID, p.Title)
		}
		ids[p.ID] = true
		if g := p.GridPos; g.W <= 0 || g.H <= 0 || g.X+g.W > 24 {
			t.Errorf("panel %q lies at %+v", p.Title, g)
		}
		for _, q := range d.Panels[:i] {
			a, b := p.GridPos, q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("panels %q and %q lie on each other", q.Title, p.Title)
			}
		}
		for _, x := range p.Targets {
			asked.WriteString(x.Expr + "\n")
			for _, w := range check(names, x.Expr, x.LegendFormat) {
				t.Errorf("panel %q: %s", p.Title, w)
			}
		}
	}
	for n := range names {
		if strings.HasPrefix(n, "mamma_prefix_srtt") || n == "mamma_prefix_health" || n == "mamma_prefix_loss_up_ratio" || n == "mamma_prefix_connections" {
			if !strings.Contains(asked.String(), n+"{") {
				t.Errorf("nothing shows %s", n)
			}
		}
	}
}

// The check reports what is wrong, too.
func TestCheckFinds(t *testing.T) {
	names := map[string][]string{"mamma_a": {"instance", "interface"}}
	for expr, legend := range map[string]string{
		"mamma_b": "", `mamma_a{prefix="x"}`: "", "mamma_a": "{{prefix}}", "sum by (instance) (mamma_a)": "{{interface}}", "max(mamma_a) by (x)": "{{ $labels.interface }}",
	} {
		if len(check(names, expr, legend)) == 0 {
			t.Errorf("%s, %q: nothing found", expr, legend)
		}
	}
	if w := check(names, `sum by (interface) (mamma_a{instance=~"x"})`, "{{interface}}"); w != nil {
		t.Errorf("found %v", w)
	}
}

// The alerting rules use metrics that the daemon serves.
func TestAlerts(t *testing.T) {
	names, _ := served(t)
	text, err := os.ReadFile(filepath.Join(folder, "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	rules := strings.Split(string(text), "- alert: ")[1:]
	if len(rules) < 5 {
		t.Fatalf("%d rules", len(rules))
	}
	for _, r := range rules {
		name, rest, _ := strings.Cut(r, "\n")
		_, expr, _ := strings.Cut(rest, "expr: ")
		expr, about, _ := strings.Cut(expr, "\n")
		if expr == "" || !strings.Contains(about, "summary: ") {
			t.Errorf("%s: no expression, or nothing is said", name)
		}
		for _, w := range check(names, expr, about) {
			t.Errorf("%s: %s", name, w)
		}
	}
}

// Prometheus's own program accepts the rules, their tests, the dashboard's expressions, and
// what the daemon serves.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("needs promtool of Prometheus: ", err)
	}
	run := func(in string, args ...string) {
		t.Helper()
		cmd := exec.Command(promtool, args...)
		cmd.Dir, cmd.Stdin = folder, strings.NewReader(in)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	run("", "check", "rules", "alerts.yml")
	run("", "test", "rules", "alerts_test.yml")
	_, text := served(t)
	run(text, "check", "metrics")
	var asked strings.Builder
	asked.WriteString("groups:\n- name: dashboard\n  rules:\n")
	variables := strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*")
	for _, p := range readDashboard(t).Panels {
		for i, x := range p.Targets {
			fmt.Fprintf(&asked, "  - record: panel%d:%d\n    expr: %q\n", p.ID, i, variables.Replace(x.Expr))
		}
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, []byte(asked.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	run("", "check", "rules", file)
}
