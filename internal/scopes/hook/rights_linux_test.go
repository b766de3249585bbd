package hook

import (
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
		{1 << unix.CAP_SYS_ADMIN, "CAP_NET_ADMIN is missing"},
		{1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON | 1<<unix.CAP_NET_ADMIN, ""},
		{1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN, ""},
	} {
		if got := missingRights(tt.effective); got != tt.want {
			t.Errorf("%x: %q, want %q", tt.effective, got, tt.want)
		}
	}
}
