//go:build linux && !amd64 && !arm64

package notify

// nativeArch is 0, which is not an architecture. Filters then let every call pass, and
// Install returns an error.
const nativeArch = 0

const (
	otherArch   = 0
	otherSocket = 0
)
