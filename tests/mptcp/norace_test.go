//go:build !race

package mptcp

const raceDetector = false
