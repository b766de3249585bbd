// Package terminal finds out about the terminal behind a reader or writer, and shows a
// person there how far a task is.
package terminal

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/display"
)

// Of returns the file descriptor behind the reader or writer v, also through a
// display.Writer. ok is false if there is no descriptor, or if it is not a terminal.
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

// Size returns the numbers of cells and lines of the terminal. They are 80 and 24 if
// the terminal does not know.
func Size(fd int) (width, height int) {
	ws, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil || ws.Col == 0 || ws.Row == 0 {
		return 80, 24
	}
	return int(ws.Col), int(ws.Row)
}
