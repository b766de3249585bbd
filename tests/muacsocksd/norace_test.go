//go:build !race

package muacsocksd

const raceDetector = false
