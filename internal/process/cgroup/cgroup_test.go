package cgroup

import "testing"

func TestMountIn(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"only version 2", "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n", "/sys/fs/cgroup"},
		{"beside version 1", "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n", "/sys/fs/cgroup/unified"},
		{"the first of two", "none /a cgroup2 rw 0 0\nnone /b cgroup2 rw 0 0\n", "/a"},
		{"a path with a space", `none /a\040b\134c cgroup2 rw 0 0` + "\n", `/a b\c`},
		{"a source of that name", "cgroup2 /mnt ext4 rw 0 0\n", ""},
		{"only version 1", "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if dir, ok := mountIn(test.text); dir != test.want || ok != (test.want != "") {
				t.Errorf("%q, %v", dir, ok)
			}
		})
	}
}

func TestOwnIn(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"a unit", "0::/system.slice/backup.service\n", "/system.slice/backup.service"},
		{"the root", "0::/\n", ""},
		{"beside version 1", "4:memory:/a\n1:name=systemd:/b\n0::/c\n", "/c"},
		{"only version 1", "4:memory:/a\n", ""},
		{"a name with a colon", "0::/a:b\n", "/a:b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := ownIn(test.text); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
