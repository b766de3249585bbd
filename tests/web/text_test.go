package web

import "strings"

// contains tells whether text has want, whatever blanks there are.
func contains(text, want string) bool {
	fold := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	return strings.Contains(fold(text), fold(want))
}
