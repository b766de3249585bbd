// Package terminal finds out about the terminal behind a reader or writer, and shows a
// person there how far something is.
package terminal

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/display"
)

// Of returns the file descriptor behind the reader or writer v, which a display.Writer
// may stand before. ok is false if there is none, or if it is not a terminal.
func Of(v any) (fd int, ok bool) {
	if w, ok := v.(*display.Writer); ok {
		v = w.Unwrap()
	}
	f, isFile := v.(*os.File)
	if !isFile || f == nil {
		return 0, false
	}
	fd = int(f.Fd())
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return fd, err == nil
}

// Size is how many cells and lines the terminal has; 80 by 24 if it does not know.
func Size(fd int) (width, height int) {
	ws, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil || ws.Col == 0 || ws.Row == 0 {
		return 80, 24
	}
	return int(ws.Col), int(ws.Row)
}
