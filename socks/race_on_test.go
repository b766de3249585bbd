//go:build race

package socks

// raceDetector tells that memory figures mean nothing and that everything is slower.
const raceDetector = true
