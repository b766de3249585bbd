package notify

import "golang.org/x/sys/unix"

const nativeArch = unix.AUDIT_ARCH_AARCH64

// The system call interface of 32 bits beside the native one, and its numbers
// (asm/unistd32.h).
const (
	otherArch   = unix.AUDIT_ARCH_ARM
	otherSocket = 281
)
