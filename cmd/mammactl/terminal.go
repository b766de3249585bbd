package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/display"
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
	if w, ok := v.(*display.Writer); ok {
		v = w.Unwrap()
	}
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
	w       io.Writer

	mu     sync.Mutex    // held while the mode changes and while keys are read
	before *unix.Termios // the mode to go back to; nil while the screen is left
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

// sequences is all that mammactl writes to a terminal and that is no text.
var sequences = []string{red, yellow, bold, dim, reset, enterScreen, leaveScreen, home, eraseLine, eraseBelow, "\r\n"}

func openScreen(in, out int, w io.Writer) (*fullScreen, error) {
	s := &fullScreen{in: in, out: out, w: w}
	if err := s.enter(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *fullScreen) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
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
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 0, 0 // reads do not wait
	if err := unix.IoctlSetTermios(s.in, unix.TCSETS, &raw); err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	_, err = io.WriteString(s.w, enterScreen)
	return err
}

// leave makes the terminal what it was. It may be called again.
func (s *fullScreen) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.before == nil {
		return
	}
	_, _ = io.WriteString(s.w, leaveScreen)
	_ = unix.IoctlSetTermios(s.in, unix.TCSETS, s.before)
	s.before = nil
}

// suspendTime is how long a stop may take to happen. It never does where no shell
// looks after the process.
const suspendTime = 300 * time.Millisecond

// suspend stops the process, as the key for that does elsewhere, and comes back
// when it is continued.
func (s *fullScreen) suspend() error {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	s.leave()
	_ = unix.Kill(0, unix.SIGTSTP)
	t := time.NewTimer(suspendTime)
	defer t.Stop()
	select {
	case <-continued:
	case <-t.C:
	}
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
	for ctx.Err() == nil {
		// A wait of a tenth of a second, so that the end of ctx is noticed.
		p := []unix.PollFd{{Fd: int32(s.in), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, 100); err != nil && !errors.Is(err, unix.EINTR) || p[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0 {
			return
		}
		if p[0].Revents&unix.POLLIN == 0 {
			continue
		}
		text, err := s.read()
		if err != nil {
			return
		}
		if text == "" {
			continue
		}
		select {
		case to <- text:
		case <-ctx.Done():
		}
	}
}

// read reads what is there. It reads nothing while the screen is left: in the
// terminal's usual mode it would wait for a whole line.
func (s *fullScreen) read() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.before == nil {
		return "", nil
	}
	var buf [64]byte
	n, err := unix.Read(s.in, buf[:])
	if err != nil {
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			err = nil
		}
		return "", err
	}
	return string(buf[:n]), nil
}
