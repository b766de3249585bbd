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

	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/internal/display/terminal"
)

// The escape sequences that begin a colour or style, and the one that ends all of them
// (ECMA-48, SGR).
const (
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	reset  = table.Reset
)

// colored tells whether to write colours: only to a terminal that has them, and not
// against the user's wish (no-color.org).
func (a *app) colored() bool {
	_, tty := terminal.Of(a.out)
	return tty && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
}

// health returns a table cell with a state of health.
func (a *app) health(state string) table.Cell {
	c := table.Cell{Text: clean(state)}
	if a.colored() {
		c.Color = healthColor(state)
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

// fullScreen is a terminal in the mode that watch needs: keys come one by one and
// without echo, the alternate screen is shown, the cursor is hidden.
type fullScreen struct {
	in, out int
	w       io.Writer

	mu     sync.Mutex    // held while the mode changes and while keys are read
	before *unix.Termios // the mode to go back to; nil while the screen is left
}

// The escape sequences of the screen (XTerm Control Sequences).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // shows the alternate screen, hides the cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l" // undoes both
	home        = "\x1b[H"               // moves the cursor to the first line
	eraseLine   = terminal.EraseLine     // erases to the end of the line
	cursorUp    = terminal.CursorUp      // moves the cursor to the line above
	eraseBelow  = "\x1b[J"               // erases to the end of the screen
)

// sequences are all control sequences that mammactl writes to a terminal. Whatever
// else looks like one comes from outside and must not pass.
var sequences = []string{red, yellow, bold, dim, reset, enterScreen, leaveScreen, home, eraseLine, eraseBelow, cursorUp, "\r\n"}

// openScreen enters the mode on the terminal with the descriptors in and out; w writes
// to out. The caller must call leave.
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
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 0, 0 // a read without input returns at once
	if err := unix.IoctlSetTermios(s.in, unix.TCSETS, &raw); err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	_, err = io.WriteString(s.w, enterScreen)
	return err
}

// leave restores the terminal. Calling it a second time does nothing.
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

// suspendTime is how long suspend waits for the process to be stopped and continued.
// A process that no shell controls is never stopped (its process group is orphaned),
// and watch then goes on after this time.
const suspendTime = 300 * time.Millisecond

// suspend restores the terminal and stops the process, as ^Z does in other programs.
// It returns when the process was continued and the screen is entered again.
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

// size returns the size of the terminal.
func (s *fullScreen) size() (width, height int) { return terminal.Size(s.out) }

// keys sends what each read from the keyboard returns, until ctx ends or the terminal
// is gone. Then it closes the channel.
func (s *fullScreen) keys(ctx context.Context, to chan<- string) {
	defer close(to)
	for ctx.Err() == nil {
		// The wait is a tenth of a second, so that the end of ctx is noticed.
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

// read returns the input that is there. While the screen is left it reads nothing: the
// terminal is in its usual mode then, in which a read waits for a whole line.
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
