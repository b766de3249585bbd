// Package placement places the connections of an unchanged program. It starts the
// program under a seccomp filter (package notify). Before the kernel carries out a
// connect, a supervisor binds the socket to the network that the Multi Access Manager
// chooses. The data of connections never passes through the supervisor.
//
// Four processes take part. The front is the command that a shell has started. It is in
// the shell's job, passes signals on, and ends like the program. The supervisor answers
// for the program and all its descendants. It has a process group of its own, which ^C
// and ^Z do not reach, and stays until the last descendant is gone. The child installs
// the filter and becomes the program. The manager (mamma) decides.
//
// The supervisor has an executable of its own, if that is there (Program). The child is
// started from the same one.
//
// The supervisor is an ancestor of the program's processes, and adopts those that lose
// their parent. It has to be: if Yama's ptrace_scope is 1, only an ancestor may look at
// a process's sockets.
//
// A connection whose network stays silent is moved to another one that the manager
// offers, once the destination has answered there. The supervisor stops the threads of the
// program, by ptrace(2), while it lets the socket connect anew. It does so only where the
// program gets no error that it would not get by being stopped and continued.
//
// Placement is best effort. If it fails, the program's call goes on as it would without
// placement; with Options.Require the call is refused instead. Placement is not a sandbox:
// a program can get around it on purpose.
package placement
