package scopes

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/scopes/hook"
)

// A group for which the kernel's table has no room is in no scope. Once another group is
// gone, it is, without a reload, and nothing is said to be wrong any more.
func TestFullTableGetsRoom(t *testing.T) {
	tr, mkdir := newTree(t)
	table, err := hook.Load()
	if err != nil {
		t.Skip("needs the right to load programs into the kernel: ", err)
	}
	t.Cleanup(table.Close)
	e := New(Options{})
	e.table, e.tree = table, tr
	e.classes, e.groups, e.where, e.full = map[string]*class{}, map[uint64]*class{}, map[string]uint64{}, map[string]uint64{}
	mkdir("old")
	if err := tr.look("/", e.group, e.forget); err != nil || e.err != nil {
		t.Fatal(err, e.err)
	}
	const others = 1 << 60 // no group has such a number
	for id := uint64(others); ; id++ {
		if err := table.SetGroup(id, 1, 0); errors.Is(err, hook.ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	mkdir("new", "newer")
	for _, path := range []string{"/new", "/newer"} {
		if err := tr.look(path, e.group, e.forget); err != nil {
			t.Fatal(err)
		}
	}
	placed := func(path string) bool {
		id, ok := e.where[path]
		return ok && e.groups[id] != nil
	}
	if !placed("/old") || placed("/new") || placed("/newer") || !errors.Is(e.err, hook.ErrFull) {
		t.Errorf("in scopes: %v; %v", e.where, e.err)
	}
	if err := os.Remove(filepath.Join(tr.root, "old")); err != nil {
		t.Fatal(err)
	}
	tr.drop("/old", e.forget)
	if e.again(); !placed("/new") || placed("/newer") || e.err == nil {
		t.Errorf("after one group has gone: %v; %v", e.where, e.err)
	}
	if err := os.Remove(filepath.Join(tr.root, "new")); err != nil {
		t.Fatal(err)
	}
	tr.drop("/new", e.forget)
	// The time that the last attempt took is nothing, but a slow machine might wait.
	e.nextAgain = e.nextAgain.AddDate(-1, 0, 0)
	if e.again(); !placed("/newer") || placed("/new") || e.err != nil {
		t.Errorf("after two groups have gone: %v; %v", e.where, e.err)
	}
}

// A unit that is started anew has another group at the same path. Such a group is not said to
// be in a scope before the kernel knows it. Once it does, late events about the one before do
// not take it away, not even for a moment.
func TestGroupOfTheSamePath(t *testing.T) {
	tr, mkdir := newTree(t)
	table, err := hook.Load()
	if err != nil {
		t.Skip("needs the right to load programs into the kernel: ", err)
	}
	t.Cleanup(table.Close)
	id := uint64(1 << 60) // of the group that is there now
	tr.number = func(path string) (uint64, error) {
		_, err := os.Stat(path)
		return id, err
	}
	e := New(Options{})
	e.table, e.tree = table, tr
	s := &scope{Scope: &config.Scope{Name: "backup", Units: []string{"backup.service"}}, id: 1, count: &Counts{}}
	e.scopes = []*scope{s}
	e.classes, e.groups, e.where, e.full = map[string]*class{}, map[uint64]*class{}, map[string]uint64{}, map[string]uint64{}
	const path = "/backup.service"
	mkdir("backup.service")
	if err := tr.look(path, e.group, e.forget); err != nil || e.err != nil {
		t.Fatal(err, e.err)
	}
	listed := func() bool { return slices.Contains(e.groupsByScope()[s], path) }
	if !listed() {
		t.Fatalf("not in the scope: %v", e.where)
	}
	id++
	if listed() {
		t.Error("a group that the kernel does not know is in the scope")
	}
	if err := tr.look(path, e.group, e.forget); err != nil || !listed() {
		t.Errorf("the new group is not in the scope: %v", err)
	}
	tr.dirs[1] = "/"
	end := inotifyEvent{1, unix.IN_DELETE | unix.IN_ISDIR, "backup.service"}
	if e.groupChanged(end); !listed() || e.groups[id] == nil {
		t.Error("the end of the group before has taken it away")
	}
	if err := os.Remove(filepath.Join(tr.root, path)); err != nil {
		t.Fatal(err)
	}
	if e.groupChanged(end); listed() || e.groups[id] != nil || len(tr.groups) > 0 {
		t.Errorf("it is gone, and still known: %v", e.where)
	}
}
