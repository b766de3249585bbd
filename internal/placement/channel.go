package placement

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"
)

// plan is what the front tells the supervisor to do.
type plan struct {
	Options Options
	Path    string   // of the program
	Args    []string // with its name
	Group   int      // the front's process group, which the program joins
}

// news is what the supervisor tells the front. Exactly one of its kinds is set.
type news struct {
	Failed  string         // the program could not be started, and why
	Status  int            // with Failed: the exit status for that
	Stopped syscall.Signal // the program was stopped by this signal
	Exited  *int           // the program ended with this status
	Killed  syscall.Signal // the program ended by this signal
}

// order is what the front asks of the supervisor once the program runs.
type order struct{ Signal syscall.Signal }

// channel carries values, as lines of JSON, between the two.
type channel struct {
	file *os.File
	enc  *json.Encoder
	dec  *json.Decoder
}

func newChannel(f *os.File) *channel {
	return &channel{file: f, enc: json.NewEncoder(f), dec: json.NewDecoder(f)}
}

// socketPair makes both ends of a channel. The second end stays open, under the same
// number, when this process executes another program. It is handed over in this way
// because all other numbers may be those of the program's own descriptors.
func socketPair() (own, other *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a channel: %w", os.NewSyscallError("socketpair", err))
	}
	syscall.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "channel"), os.NewFile(uintptr(fds[1]), "channel"), nil
}
