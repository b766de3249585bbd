package notify

import "golang.org/x/sys/unix"

const nativeArch = unix.AUDIT_ARCH_X86_64

// The system call interface of 32 bits beside the native one, and its numbers
// (asm/unistd_32.h).
const (
	otherArch   = unix.AUDIT_ARCH_I386
	otherSocket = 359
)
