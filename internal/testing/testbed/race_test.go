//go:build race

package testbed_test

// raceDetector tells that the relay is too slow for measurements.
const raceDetector = true
