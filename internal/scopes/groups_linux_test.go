package scopes

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

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
