//go:build race

package testbed_test

// raceDetector slows the relay down too much for figures.
const raceDetector = true
