package doctor

import (
	"fmt"
	"io"
	"strings"

	"github.com/socket-intents/mamma/internal/display"
)

// Severity grades findings.
type Severity uint8

// The severities. They are also exit codes.
const (
	Note    Severity = iota // everything works, but somebody may want it otherwise
	Warning                 // something works less well than it could
	Problem                 // choices have no effect
)

func (s Severity) String() string {
	switch s {
	case Note:
		return "note"
	case Warning:
		return "warning"
	case Problem:
		return "problem"
	}
	return "unknown"
}

// MarshalText gives the severity's word, which stands in JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is something that is not as it should be.
type Finding struct {
	Severity Severity `json:"severity"`
	Check    string   `json:"check"`   // which of the checks, such as "source-route"
	Subject  string   `json:"subject"` // what it is about: a prefix on an interface, a block of the configuration, the host
	Text     string   `json:"text"`
	Evidence string   `json:"evidence,omitempty"`
	// Copes says what mamma does about it meanwhile; "" for nothing.
	Copes string `json:"copes,omitempty"`
	// Fix are commands for a shell, or settings, that mend the finding. One of them is
	// enough. A command with the comment "shows" changes nothing.
	Fix []string `json:"fix"`
	// Lasts tells how to make the effect of the first Fix outlive the next start of the
	// host; "" if it does so by itself.
	Lasts string `json:"lasts,omitempty"`
}

// Report is the result of all checks.
type Report struct {
	Findings []Finding `json:"findings"` // the most severe first
	Passed   int       `json:"passed"`   // checks without a finding
}

// ExitCode is 0 if nothing but notes was found, 1 for warnings and 2 for
// problems.
func (r Report) ExitCode() int {
	worst := Note
	for _, f := range r.Findings {
		worst = max(worst, f.Severity)
	}
	return int(worst)
}

// Write writes the report for people. Text is cleaned for a terminal, because the owners
// of interfaces and programs can give them any name.
func (r Report) Write(w io.Writer) error {
	var b strings.Builder
	const indent = "         "
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%-8s %s: %s\n", strings.ToUpper(f.Severity.String()), f.Subject, f.Text)
		if f.Evidence != "" {
			fmt.Fprintf(&b, "%sevidence: %s\n", indent, f.Evidence)
		}
		if f.Copes != "" {
			fmt.Fprintf(&b, "%smamma copes: %s\n", indent, f.Copes)
		}
		for i, fix := range f.Fix {
			if i > 0 {
				fmt.Fprintf(&b, "%sor\n", indent)
			}
			fmt.Fprintf(&b, "%s  %s\n", indent, fix)
			if i == 0 && f.Lasts != "" {
				fmt.Fprintf(&b, "%sto make it last: %s\n", indent, strings.ReplaceAll(strings.TrimSpace(f.Lasts), "\n", "\n"+indent+"  "))
			}
		}
	}
	checks := "checks"
	if r.Passed == 1 {
		checks = "check"
	}
	fmt.Fprintf(&b, "%-8s %d %s passed\n", "ok", r.Passed, checks)
	_, err := io.WriteString(display.NewWriter(w), b.String())
	return err
}
