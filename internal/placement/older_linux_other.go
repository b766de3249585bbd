//go:build linux && !amd64

package placement

// older are the calls among resumed that newer architectures do not have.
var older []int64
