package control

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestListen(t *testing.T) {
	gid := uint32(os.Getgid())
	for _, group := range []*uint32{nil, &gid} {
		l, err := Listen(filepath.Join(t.TempDir(), "mamma", "control.sock"), group)
		if err != nil {
			t.Fatal(err)
		}
		fi, err := os.Lstat(l.Path())
		if err != nil {
			t.Fatal(err)
		}
		if st := fi.Sys().(*syscall.Stat_t); fi.Mode().Perm() != 0o660 || st.Gid != gid {
			t.Errorf("mode %v, group %d", fi.Mode(), st.Gid)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestLookupGroup(t *testing.T) {
	if g, err := LookupGroup(""); g != nil || err != nil {
		t.Errorf("no group: %v, %v", g, err)
	}
	if g, err := LookupGroup("4294967294"); err != nil || *g != 4294967294 {
		t.Errorf("by number: %v, %v", g, err)
	}
	for _, bad := range []string{"-1", "4294967296", "no group of this name"} {
		if g, err := LookupGroup(bad); err == nil {
			t.Errorf("%q gives %d", bad, *g)
		} else if want := fmt.Sprintf("control_group: there is no group %q on this host", bad); err.Error() != want {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
