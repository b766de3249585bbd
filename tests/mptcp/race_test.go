//go:build race

package mptcp

// raceDetector slows emulated links down too much for figures.
const raceDetector = true
