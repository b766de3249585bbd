package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudo-terminal of 80 by 24 (pty(7)). It returns the person's
// side and the program's side.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("needs pseudo-terminals (devpts):", err)
	}
	t.Cleanup(func() { _ = person.Close() })
	raw, err := person.SyscallConn() // Fd would make reads ignore Close
	if err != nil {
		t.Fatal(err)
	}
	var n int
	var ioctlErr error
	if err := raw.Control(func(fd uintptr) {
		if ioctlErr = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); ioctlErr == nil {
			n, ioctlErr = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
		if ioctlErr == nil {
			ioctlErr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
		}
	}); err != nil || ioctlErr != nil {
		t.Fatal(err, ioctlErr)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return person, program
}

// However watch ends, it restores the terminal.
func TestWatchGivesTheTerminalBack(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(person *os.File, cancel func())
	}{
		{"q", func(p *os.File, _ func()) { _, _ = p.WriteString("q") }},
		{"interrupt key", func(p *os.File, _ func()) { _, _ = p.WriteString(keyInterrupt) }},
		{"signal", func(_ *os.File, cancel func()) { cancel() }},
		{"while typing", func(p *os.File, cancel func()) { _, _ = p.WriteString("/q"); cancel() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			f.hold = true
			path := serve(t, f)
			person, program := openTerminal(t)
			before, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			env := map[string]string{"MAMMA_CONTROL": path, "TERM": "xterm"}
			a := &app{in: program, out: program, err: os.Stderr, getenv: func(k string) string { return env[k] }, location: time.UTC}
			ended := make(chan int, 1)
			go func() { ended <- a.run(ctx, []string{"watch"}) }()

			var seen []byte
			buf := make([]byte, 4096)
			read := func(marker string) {
				t.Helper()
				for !bytes.Contains(seen, []byte(marker)) {
					n, err := person.Read(buf)
					if err != nil {
						t.Fatalf("%v; seen: %q", err, seen)
					}
					seen = append(seen, buf[:n]...)
				}
			}
			read("q quit")
			if !bytes.Contains(seen, []byte(enterScreen)) || !bytes.Contains(seen, []byte(yellow+"suspect"+reset)) {
				t.Errorf("first screen: %q", seen)
			}
			tt.end(person, cancel)
			read(leaveScreen)
			if code := <-ended; code != exitOK {
				t.Errorf("exit code %d", code)
			}
			after, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("the terminal's mode (-before +after):\n%s", diff)
			}
		})
	}
}

// The screen begins with the past, and goes on with what comes after that.
func TestWatchBeginsWithThePast(t *testing.T) {
	f := newFake()
	f.hold = true
	path := serve(t, f)
	person, program := openTerminal(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	env := map[string]string{"MAMMA_CONTROL": path, "TERM": "xterm"}
	a := &app{in: program, out: program, err: os.Stderr, getenv: func(k string) string { return env[k] }, location: time.UTC}
	ended := make(chan int, 1)
	go func() { ended <- a.run(ctx, []string{"watch", "-n", "7"}) }()
	var seen []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(seen, []byte("192.0.2.7:443")) {
		n, err := person.Read(buf)
		if err != nil {
			t.Fatalf("%v; seen: %q", err, seen)
		}
		seen = append(seen, buf[:n]...)
	}
	var asked []string
	for !slices.Contains(asked, "since=4") { // this is the latest of the past
		select {
		case q := <-f.asked:
			asked = append(asked, q)
		case <-ctx.Done():
			t.Fatalf("asked %q", asked)
		}
	}
	if !slices.Contains(asked, "limit=7") {
		t.Errorf("asked %q", asked)
	}
	if _, err := person.WriteString("q"); err != nil {
		t.Fatal(err)
	}
	for !bytes.Contains(seen, []byte(leaveScreen)) {
		n, err := person.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, buf[:n]...)
	}
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
