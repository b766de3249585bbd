package config

import (
	"fmt"
	"strings"
)

// UnknownPolicy adds to the error about an unknown policy which one of known was
// probably meant.
func UnknownPolicy(name string, known []string, err error) error {
	return &unknownPolicyError{name: name, known: known, err: err}
}

type unknownPolicyError struct {
	name  string
	known []string // names that a policy may have
	err   error
}

func (e *unknownPolicyError) Error() string {
	known := Suggest(e.name, e.known)
	text := fmt.Sprintf("unknown policy %q%s", e.name, known)
	if strings.HasSuffix(known, "?") {
		return text
	}
	return fmt.Sprintf("%s; and %v", text, e.err)
}

func (e *unknownPolicyError) Unwrap() error { return e.err }
