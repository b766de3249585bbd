//go:build race

package live

// raceDetector tells that this test binary is slow. Checks that depend on which
// connection is there first run only without the detector.
const raceDetector = true
