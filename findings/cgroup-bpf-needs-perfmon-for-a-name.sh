#!/usr/bin/env bash
# Linux (seen with 6.18), github.com/cilium/ebpf v0.22.0, Go 1.26, setpriv of util-linux; root
#
# Expected: capabilities(7) gives CAP_BPF for loading programs, CAP_NET_ADMIN for those of
# networking, and CAP_PERFMON for tracing. So a program for connect of a control group
# wants the first two. Without a right, loading fails with EPERM.
#
# Seen: if such a program asks for the name of the running program
# (bpf_get_current_comm), it wants CAP_PERFMON besides. Without it the error is EINVAL,
# and the verifier says that this kind of program has no such helper. So it looks like an
# old kernel, and a probe for the helper says that it is missing. The user's id and the
# control group's need no more than the two.
#   bpf,net_admin: bpf_get_current_uid_gid: loaded
#   bpf,net_admin: bpf_get_current_cgroup_id: loaded
#   bpf,net_admin: bpf_get_current_comm: invalid argument, "program of this type cannot use helper", probe: not supported
#   bpf,net_admin,perfmon: bpf_get_current_uid_gid: loaded
#   bpf,net_admin,perfmon: bpf_get_current_cgroup_id: loaded
#   bpf,net_admin,perfmon: bpf_get_current_comm: loaded
set -euo pipefail
if [ "$(id -u)" != 0 ]; then
	echo "needs root, to become a user with some capabilities" >&2
	exit 1
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chmod 0755 "$dir"
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/cilium/ebpf@v0.22.0 golang.org/x/sys@v0.49.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

func main() {
	for _, h := range []struct {
		name string
		call asm.BuiltinFunc
	}{
		{"bpf_get_current_uid_gid", asm.FnGetCurrentUidGid},
		{"bpf_get_current_cgroup_id", asm.FnGetCurrentCgroupId},
		{"bpf_get_current_comm", asm.FnGetCurrentComm},
	} {
		fmt.Printf("%s: %s: %s\n", os.Args[1], h.name, load(h.call))
	}
}

// load loads a program that calls the helper and permits every connect.
func load(call asm.BuiltinFunc) string {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.CGroupSockAddr, AttachType: ebpf.AttachCGroupInet4Connect, License: "GPL",
		Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R6, 0), asm.StoreMem(asm.RFP, -16, asm.R6, asm.DWord), asm.StoreMem(asm.RFP, -8, asm.R6, asm.DWord),
			asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, -16), asm.Mov.Imm(asm.R2, 16),
			call.Call(),
			asm.Mov.Imm(asm.R0, 1), asm.Return(),
		},
	})
	if err == nil {
		p.Close()
		return "loaded"
	}
	said := ""
	var v *ebpf.VerifierError
	if errors.As(err, &v) && strings.Contains(strings.Join(v.Log, " "), "program of this type cannot use helper") {
		said = `, "program of this type cannot use helper"`
	}
	probe := "supported"
	if errors.Is(features.HaveProgramHelper(ebpf.CGroupSockAddr, call), ebpf.ErrNotSupported) {
		probe = "not supported"
	}
	for _, n := range []unix.Errno{unix.EPERM, unix.EACCES, unix.EINVAL} {
		if errors.Is(err, n) {
			return fmt.Sprint(n.Error(), said, ", probe: ", probe)
		}
	}
	return err.Error()
}
GO
go mod tidy >/dev/null 2>&1
CGO_ENABLED=0 go build -o load .
chmod 0755 load
for list in bpf,net_admin bpf,net_admin,perfmon; do
	names=+${list//,/,+}
	setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps="$names" --ambient-caps="$names" ./load "$list"
done | tee seen
diff - seen <<'OUT'
bpf,net_admin: bpf_get_current_uid_gid: loaded
bpf,net_admin: bpf_get_current_cgroup_id: loaded
bpf,net_admin: bpf_get_current_comm: invalid argument, "program of this type cannot use helper", probe: not supported
bpf,net_admin,perfmon: bpf_get_current_uid_gid: loaded
bpf,net_admin,perfmon: bpf_get_current_cgroup_id: loaded
bpf,net_admin,perfmon: bpf_get_current_comm: loaded
OUT
