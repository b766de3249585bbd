package mam

import (
	"fmt"
	"io"

	"github.com/socket-intents/mamma/policy"
)

// WriteAnnouncement writes the lines that a user sees when a policy is loaded. The
// lines name the addresses that the policy works with (doc/original/policies.md 3.2).
func (v *View) WriteAnnouncement(out io.Writer) error {
	var note func(*policy.Prefix) string
	if a, ok := v.annotator(); ok {
		note = a.Annotate
	}
	if _, err := fmt.Fprintln(out, "Configured addresses:"); err != nil {
		return err
	}
	for _, f := range []struct {
		family policy.Family
		name   string
	}{{policy.IPv4, "AF_INET"}, {policy.IPv6, "AF_INET6"}} {
		if _, err := fmt.Fprintf(out, "    %s:\n", f.name); err != nil {
			return err
		}
		none := true
		for _, p := range v.Prefixes {
			if p.Family() != f.family {
				continue
			}
			none = false
			text := ""
			if note != nil {
				text = note(p)
			}
			if _, err := fmt.Fprintf(out, "        %v%s\n", p.Addr(), text); err != nil {
				return err
			}
		}
		if none {
			if _, err := fmt.Fprintln(out, "        (none)"); err != nil {
				return err
			}
		}
	}
	for _, line := range v.remarks() {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

// remarks are the lines that the policy adds to its announcement, after the addresses.
func (v *View) remarks() (lines []string) {
	if v.Runner == nil {
		return nil
	}
	if l, ok := v.Runner.policy.(policy.LineLogger); ok && l.LogFile() != "" {
		lines = append(lines, "Logging to "+l.LogFile())
	}
	if a, ok := v.Runner.policy.(policy.Announcer); ok {
		lines = append(lines, a.Announcement()...)
	}
	return lines
}

func (v *View) annotator() (policy.Annotator, bool) {
	if v.Runner == nil {
		return nil, false
	}
	a, ok := v.Runner.policy.(policy.Annotator)
	return a, ok
}
