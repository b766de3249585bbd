//go:build !race

package socks

const raceDetector = false
