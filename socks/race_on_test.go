//go:build race

package socks

// raceDetector makes memory figures meaningless and everything slower.
const raceDetector = true
