package hook

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMissingRights(t *testing.T) {
	for _, tt := range []struct {
		effective uint64
		want      string
	}{
		{0, "all are missing"},
		{1 << unix.CAP_NET_ADMIN, "CAP_BPF and CAP_PERFMON are missing"},
		{1<<unix.CAP_BPF | 1<<unix.CAP_NET_ADMIN, "CAP_PERFMON is missing"},
		{1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON, "CAP_NET_ADMIN is missing"},
		{1<<unix.CAP_PERFMON | 1<<unix.CAP_NET_ADMIN, "CAP_BPF is missing"},
		{1 << unix.CAP_SYS_ADMIN, "CAP_NET_ADMIN is missing"},
		{1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON | 1<<unix.CAP_NET_ADMIN, ""},
		{1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN, ""},
	} {
		if got := missingRights(tt.effective); got != tt.want {
			t.Errorf("%x: %q, want %q", tt.effective, got, tt.want)
		}
	}
}

// Where all rights are there and the kernel refuses nevertheless, the message says who may
// have refused it. A helper that it lacks is no matter of rights.
func TestLacking(t *testing.T) {
	if effective, known := capabilities(); !known || missingRights(effective) != "" {
		t.Skip("needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN")
	}
	if err := lacking("map", unix.EPERM); !errors.Is(err, ErrRights) || !strings.Contains(err.Error(), "SystemCallFilter=bpf") {
		t.Error(err)
	}
	if err := lacking("helper", unix.EINVAL); !errors.Is(err, ErrUnsupported) || errors.Is(err, ErrRights) {
		t.Error(err)
	}
}
