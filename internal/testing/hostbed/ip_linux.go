package hostbed

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"github.com/socket-intents/mamma/internal/operator/hostfile"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// command returns a statement as a command of ip(8).
func command(s *hostfile.Statement) string {
	switch s.Object() {
	case "norule":
		return "rule del priority " + s.Args[0].Value
	case "rule":
		return "rule add priority " + s.Words()
	case "route":
		// "append" is needed because IPv6 allows several routes that differ only in the
		// gateway.
		return "route append " + s.Words()
	case "addr":
		var words []string
		for _, a := range s.Args {
			switch a.Key {
			case "temporary", "tentative", "dadfailed": // only the kernel itself can set these
				continue
			}
			words = append(words, strings.TrimSpace(a.Key+" "+a.Value))
		}
		return "addr add " + strings.Join(words, " ")
	case "neigh":
		return "neigh replace " + s.Words()
	}
	return s.Object() + " add " + s.Words()
}

// run passes statements to ip(8), with the option for their family.
func run(batch []hostfile.Statement, family string) error {
	if len(batch) == 0 {
		return nil
	}
	path, err := exec.LookPath("ip")
	if err != nil {
		return fmt.Errorf("%w: needs the program ip of iproute2: %w", testbed.ErrUnavailable, err)
	}
	args := []string{"-force", "-batch", "-"}
	if family != "-0" {
		args = append([]string{family}, args...)
	}
	var in strings.Builder
	for i := range batch {
		in.WriteString(command(&batch[i]) + "\n")
	}
	cmd := exec.Command(path, args...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in.String()), &out, &out
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return err
	}
	return failures(batch, out.String())
}

// failures reads what ip(8) says about lines that failed. A route that exists already
// is not a failure, because the kernel has made it for an address. The error wraps
// testbed.ErrUnavailable if all that fails is what the kernel was built without.
func failures(batch []hostfile.Statement, output string) error {
	var errs, lacking []error
	what := ""
	for l := range strings.Lines(output) {
		l = strings.TrimSpace(l)
		number, ok := strings.CutPrefix(l, "Command failed -:")
		if !ok {
			what = strings.TrimPrefix(what+"; "+l, "; ")
			continue
		}
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > len(batch) {
			return fmt.Errorf("ip says %q", l)
		}
		s := &batch[n-1]
		switch {
		case s.Value("proto") == "kernel" && strings.Contains(what, "File exists"):
		case lacksEncapsulation(what):
			lacking = append(lacking, fmt.Errorf("%w: line %d: %s: needs a kernel with this encapsulation (CONFIG_LWTUNNEL, and for instance CONFIG_IPV6_SEG6_LWTUNNEL): %s",
				testbed.ErrUnavailable, s.Line, s, what))
		default:
			errs = append(errs, fmt.Errorf("line %d: %s: %s", s.Line, s, what))
		}
		what = ""
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return errors.Join(lacking...)
}

// lacksEncapsulation reports whether the kernel refused an encapsulation of routes that it
// was built without (net/core/lwtunnel.c, include/net/lwtunnel.h).
func lacksEncapsulation(what string) bool {
	what = strings.ToLower(what) // the kernel's text has had "lwt" and "LWT"
	return strings.Contains(what, "lwt encapsulation type not supported") || strings.Contains(what, "config_lwtunnel is not enabled")
}
