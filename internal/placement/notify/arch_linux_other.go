//go:build linux && !amd64 && !arm64

package notify

// nativeArch 0 is no architecture: filters let every call pass, and Install says
// so.
const nativeArch = 0
