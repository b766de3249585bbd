//go:build race

package muacsocksd

// raceDetector slows emulated links down too much to compare them.
const raceDetector = true
