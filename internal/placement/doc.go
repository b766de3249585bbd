// Package placement places the connections of a program that nobody changes: it starts
// the program under a seccomp filter (package notify), and binds each socket that
// the program connects to the network that the Multi Access Manager chooses,
// before the kernel carries the call out. Data never passes through it.
//
// Four processes take part. The front is the command that a shell started; it is
// in the shell's job, passes signals on and ends as the program does. The
// supervisor answers for the program and all its descendants, in a process group
// of its own that ^C and ^Z do not reach, and stays until the last of them is
// gone. The child installs the filter and becomes the program. The manager
// (mamma) decides.
//
// The supervisor is an ancestor of the program's processes, and adopts those that lose
// their parent: where Yama's ptrace_scope is 1, only an ancestor may look at a process's
// sockets.
//
// Placement is best effort. Where it fails, the program's call goes on as it would
// without placement; with Options.Require the call is refused instead. Placement is no
// sandbox: a program can get around it on purpose.
package placement
