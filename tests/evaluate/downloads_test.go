package main

import "testing"

// In virtual time, downloading a file over both networks gains as much as is wanted.
func TestDownloads(t *testing.T) {
	for _, d := range downloads() {
		saved, read, err := d.gains()
		if err != nil {
			t.Fatal(err)
		}
		if !reaches(d.wanted, saved, read) {
			t.Errorf("%s: %.3f and %.3f times the better network, want %.2f", d.name, saved, read, d.wanted)
		}
	}
}
