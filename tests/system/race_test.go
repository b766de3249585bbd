//go:build race

package system

// raceDetector tells that this test binary is slow. Comparisons with an emulated link's
// own figures run only without the detector.
const raceDetector = true
