package main

import "testing"

// A file over both networks comes as much sooner as is wanted, in virtual time.
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
