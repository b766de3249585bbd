//go:build race

package live

// raceDetector tells that this test binary is slow: what depends on which
// connection is there first is left to the run without the detector.
const raceDetector = true
