package main

import (
	"testing"
	"time"
)

func TestFar(t *testing.T) {
	e := &evaluation{}
	for _, tt := range []struct {
		todo, done int64
		want       string
	}{
		{0, 0, "2m0s, playing in virtual time"},
		{240, 0, "2m0s, the first of 240 repetitions"},
		{240, 60, "2m0s, 60 of 240 repetitions, about 6m0s left"},
		{240, 240, "2m0s, playing in virtual time"},
	} {
		e.todo.Store(tt.todo)
		e.done.Store(tt.done)
		if got := e.far(2 * time.Minute); got != tt.want {
			t.Errorf("%d of %d: %q, want %q", tt.done, tt.todo, got, tt.want)
		}
	}
}
