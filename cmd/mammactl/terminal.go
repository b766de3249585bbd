package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// The colours, and what ends them (ECMA-48 SGR).
const (
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	reset  = "\x1b[0m"
)

// terminalOf returns the descriptor of v and whether it is a terminal.
func terminalOf(v any) (fd int, ok bool) {
	f, isFile := v.(*os.File)
	if !isFile {
		return 0, false
	}
	fd = int(f.Fd())
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return fd, err == nil
}

// colored tells whether the output takes colours (no-color.org).
func (a *app) colored() bool {
	_, tty := terminalOf(a.out)
	return tty && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
}

// health is the cell of a state of health.
func (a *app) health(state string) cell {
	c := cell{text: clean(state)}
	if a.colored() {
		c.color = healthColor(state)
	}
	return c
}

func healthColor(state string) string {
	switch state {
	case "suspect":
		return yellow
	case "down":
		return red
	}
	return ""
}

// fullScreen is a terminal in the mode that watch needs: keys one by one and
// without echo, the other screen, no cursor.
type fullScreen struct {
	in, out int
	before  *unix.Termios
	w       io.Writer
}

// Escape sequences (XTerm control sequences): the other screen and no cursor;
// back; home; erase to the end of line, and of the screen.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	eraseLine   = "\x1b[K"
	eraseBelow  = "\x1b[J"
)

func openScreen(in, out int, w io.Writer) (*fullScreen, error) {
	s := &fullScreen{in: in, out: out, w: w}
	if err := s.enter(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *fullScreen) enter() error {
	t, err := unix.IoctlGetTermios(s.in, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	s.before = t
	raw := *t
	// Without ISIG the keys for interrupt and stop come as characters, so that
	// the screen can be left first.
	raw.Lflag &^= unix.ICANON | unix.ECHO | unix.ISIG | unix.IEXTEN
	raw.Iflag &^= unix.IXON | unix.ICRNL
	// A read returns after a tenth of a second at the latest: that ends the reader.
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 0, 1
	if err := unix.IoctlSetTermios(s.in, unix.TCSETS, &raw); err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	_, err = io.WriteString(s.w, enterScreen)
	return err
}

// leave makes the terminal what it was. It may be called again.
func (s *fullScreen) leave() {
	if s.before == nil {
		return
	}
	_, _ = io.WriteString(s.w, leaveScreen)
	_ = unix.IoctlSetTermios(s.in, unix.TCSETS, s.before)
	s.before = nil
}

// suspend stops the process, as the key for that does elsewhere, and comes back
// when it is continued.
func (s *fullScreen) suspend() error {
	s.leave()
	// The whole group, which the shell may have started as a pipeline.
	_ = unix.Kill(0, unix.SIGTSTP)
	return s.enter()
}

// size is the terminal's, 80 by 24 if it does not know.
func (s *fullScreen) size() (width, height int) {
	ws, err := unix.IoctlGetWinsize(s.out, unix.TIOCGWINSZ)
	if err != nil || ws.Col == 0 || ws.Row == 0 {
		return 80, 24
	}
	return int(ws.Col), int(ws.Row)
}

// keys reads keys and sends what was read at once, until ctx ends or the
// terminal is gone; then it closes the channel.
func (s *fullScreen) keys(ctx context.Context, to chan<- string) {
	defer close(to)
	var buf [64]byte
	for ctx.Err() == nil {
		n, err := unix.Read(s.in, buf[:])
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
			continue
		case err != nil:
			return
		case n <= 0:
			continue
		}
		select {
		case to <- string(buf[:n]):
		case <-ctx.Done():
		}
	}
}
