package doctor

import (
	"fmt"
	"io"
	"strings"

	"github.com/socket-intents/mamma/internal/display"
	"github.com/socket-intents/mamma/internal/display/table"
)

// Severity grades findings.
type Severity uint8

// The severities. They are also exit codes.
const (
	Note    Severity = iota // everything works, but perhaps not as somebody wants it
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

// MarshalText returns the word for the severity, for JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is something that should be otherwise.
type Finding struct {
	Severity Severity `json:"severity"`
	Check    string   `json:"check"`   // name of the check, such as "source-route"
	Subject  string   `json:"subject"` // what it is about: a prefix on an interface, a block of the configuration, the host
	// Text says what is wrong, in sentences that begin with their subject. As it follows
	// the Subject and a colon, it begins in lower case and ends without a full stop.
	Text     string `json:"text"`
	Evidence string `json:"evidence,omitempty"`
	// Copes says what mamma does about it meanwhile; "": nothing.
	Copes string `json:"copes,omitempty"`
	// Fix are shell commands, or settings, that mend the finding. One of them is
	// enough. A command with the comment "shows" changes nothing.
	Fix []string `json:"fix"`
	// Lasts says how to make the effect of the first Fix survive the next start of the
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

// leastFold is the least width for folding. A narrower column is not made narrower
// still.
const leastFold = 20

// Write writes the report for people, in lines of at most width cells; 0 means any
// number. Each command stays on one line, for those who copy it. Text is cleaned for a
// terminal, because interfaces and programs can have any name.
func (r Report) Write(w io.Writer, width int) error {
	var b strings.Builder
	const indent = "         "
	say := func(head, format string, args ...any) {
		text := display.Clean(fmt.Sprintf(format, args...))
		room := 0
		if width > 0 {
			room = max(width-len(indent), leastFold)
		}
		for _, l := range table.Fold(text, room) {
			fmt.Fprintf(&b, "%-8s %s\n", head, l)
			head = ""
		}
	}
	for _, f := range r.Findings {
		say(strings.ToUpper(f.Severity.String()), "%s: %s", f.Subject, f.Text)
		if f.Evidence != "" {
			say("", "evidence: %s", f.Evidence)
		}
		if f.Copes != "" {
			say("", "mamma copes: %s", f.Copes)
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
