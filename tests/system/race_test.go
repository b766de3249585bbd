//go:build race

package system

// raceDetector tells that this test binary is slow: what is compared with an
// emulated link's own figures is left to the run without the detector.
const raceDetector = true
