package scopes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// newTree watches a folder as if it held control groups.
func newTree(t *testing.T, believed ...uint32) (*tree, func(names ...string)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give folders to other users")
	}
	root := t.TempDir()
	tr, err := openTree(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.close)
	tr.believed = func(uid uint32) bool { return ours(uid) || slices.Contains(believed, uid) }
	tr.number = func(path string) (uint64, error) {
		var st unix.Stat_t
		err := unix.Lstat(path, &st)
		return st.Ino, err
	}
	return tr, func(names ...string) {
		t.Helper()
		for _, name := range names {
			if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// known collects what a tree tells of.
type known map[string]uint64

func (k known) add(path string, id uint64)    { k[path] = id }
func (k known) forget(path string, id uint64) { delete(k, path) }

func (k known) paths() []string {
	var list []string
	for p := range k {
		list = append(list, p)
	}
	slices.Sort(list)
	return list
}

// A user whose names count nowhere makes as many groups as the kernel permits. They take
// no room, are not watched, and do not delay what is told of others.
func TestStrangersGroupsTakeNoRoom(t *testing.T) {
	tr, mkdir := newTree(t)
	mkdir("user.slice", "user.slice/alice", "system.slice", "system.slice/backup.service")
	own := filepath.Join(tr.root, "user.slice/alice")
	if err := os.Chown(own, alice, alice); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		mkdir("user.slice/alice/" + strconv.Itoa(i))
	}
	k := known{}
	if err := tr.look("/", k.add, k.forget); err != nil {
		t.Fatal(err)
	}
	if want := []string{"/", "/system.slice", "/system.slice/backup.service", "/user.slice", "/user.slice/alice"}; !slices.Equal(k.paths(), want) {
		t.Errorf("known: %q, want %q", k.paths(), want)
	}
	if n := tr.groups["/user.slice/alice"]; n == nil || n.watch >= 0 {
		t.Errorf("what alice makes is watched: %+v", n)
	}
	// When the folder becomes root's, the names in it count, and no more when it does not.
	for _, uid := range []int{0, alice} {
		if err := os.Chown(own, uid, uid); err != nil {
			t.Fatal(err)
		}
		if !tr.changed("/user.slice/alice") {
			t.Error("another owner is not a change")
		}
		if err := tr.look("/user.slice/alice", k.add, k.forget); err != nil {
			t.Fatal(err)
		}
		if _, there := k["/user.slice/alice/0"]; there != (uid == 0) {
			t.Errorf("of user %d: %q", uid, k.paths())
		}
	}
	if err := os.Chmod(own, 0o750); err != nil {
		t.Fatal(err)
	}
	if tr.changed("/user.slice/alice") {
		t.Error("a mode that lets in nobody else is a change")
	}
}

// A user whose names count has a bounded number of groups, and leaves room for others.
func TestGroupsOfAUserAreBounded(t *testing.T) {
	tr, mkdir := newTree(t, alice, bob)
	mkdir("alice", "bob", "bob/one")
	for _, u := range []struct {
		name string
		uid  int
	}{{"alice", alice}, {"bob", bob}} {
		if err := os.Chown(filepath.Join(tr.root, u.name), u.uid, u.uid); err != nil {
			t.Fatal(err)
		}
	}
	for i := range maxNamed + 10 {
		mkdir("alice/" + strconv.Itoa(i))
	}
	k := known{}
	if err := tr.look("/", k.add, k.forget); !errors.Is(err, errGiven) {
		t.Errorf("so many groups: %v", err)
	}
	if want := maxNamed + 4; len(k) != want { // the root, both users, and what bob made
		t.Errorf("%d groups are known, want %d", len(k), want)
	}
	if _, ok := k["/bob/one"]; !ok {
		t.Error("the group of another user is not known")
	}
	// When all are looked at again, the known ones stay, wherever they are among the others.
	mkdir("alice/00")
	k = known{}
	if err := tr.look("/", k.add, k.forget); !errors.Is(err, errGiven) {
		t.Errorf("one group more: %v", err)
	}
	if want := maxNamed + 4; len(k) != want {
		t.Errorf("%d groups are known when looked at again, want %d", len(k), want)
	}
	if err := os.Remove(filepath.Join(tr.root, "alice/00")); err != nil {
		t.Fatal(err)
	}
	// Those that are gone make room.
	for p := range k {
		if filepath.Dir(p) == "/alice" {
			tr.drop(p, k.forget)
			if err := os.Remove(filepath.Join(tr.root, p)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tr.look("/alice", k.add, k.forget); err != nil {
		t.Error(err)
	}
	if len(k) != 14 {
		t.Errorf("%d groups are known, want 14", len(k))
	}
	if tr.drop("/", k.forget); len(k) != 0 || len(tr.groups) != 0 || len(tr.dirs) != 0 || len(tr.given) != 0 {
		t.Errorf("left: %d, %d, %d, %v", len(k), len(tr.groups), len(tr.dirs), tr.given)
	}
}

// All users whose names count have a bounded number of groups together, and the system has room
// in any case.
func TestGroupsOfAllUsersAreBounded(t *testing.T) {
	tr, mkdir := newTree(t, alice)
	mkdir("alice", "alice/one", "system.slice", "system.slice/backup.service")
	if err := os.Chown(filepath.Join(tr.root, "alice"), alice, alice); err != nil {
		t.Fatal(err)
	}
	for i := range uint32(maxAllNamed / maxNamed) {
		tr.given[alice+1+i] = maxNamed
	}
	k := known{}
	if err := tr.look("/", k.add, k.forget); !errors.Is(err, errGiven) {
		t.Errorf("one group more: %v", err)
	}
	if want := []string{"/", "/alice", "/system.slice", "/system.slice/backup.service"}; !slices.Equal(k.paths(), want) {
		t.Errorf("known: %q, want %q", k.paths(), want)
	}
}

// Where everybody or a group can make control groups, it is not known who has given names. They
// take no room.
func TestNamesOfAnybodyTakeNoRoom(t *testing.T) {
	tr, mkdir := newTree(t)
	mkdir("all", "all/one", "group", "group/one", "root", "root/one")
	for name, mode := range map[string]os.FileMode{"all": 0o757, "group": 0o775, "root": 0o775} {
		if err := os.Chmod(filepath.Join(tr.root, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(tr.root, "group"), 0, alice); err != nil {
		t.Fatal(err)
	}
	k := known{}
	if err := tr.look("/", k.add, k.forget); err != nil {
		t.Fatal(err)
	}
	if want := []string{"/", "/all", "/group", "/root", "/root/one"}; !slices.Equal(k.paths(), want) {
		t.Errorf("known: %q, want %q", k.paths(), want)
	}
}

// Groups whose end was not seen, because events were lost, take no room of a user.
func TestLostGroupsMakeRoom(t *testing.T) {
	tr, mkdir := newTree(t, alice)
	mkdir("alice")
	if err := os.Chown(filepath.Join(tr.root, "alice"), alice, alice); err != nil {
		t.Fatal(err)
	}
	k := known{}
	for round := range 3 {
		names := make([]string, maxNamed)
		for i := range names {
			names[i] = filepath.Join("alice", fmt.Sprintf("%d-%d", round, i))
		}
		mkdir(names...)
		tr.dropGone(k.forget)
		if err := tr.look("/", k.add, k.forget); err != nil {
			t.Fatal(err)
		}
		if want := maxNamed + 2; len(k) != want || len(tr.groups) != want {
			t.Errorf("%d groups are told of and %d known, want %d", len(k), len(tr.groups), want)
		}
		for _, name := range names {
			if err := os.Remove(filepath.Join(tr.root, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Groups for which there was no room are told of once there is some, wherever they are, and
// no others are asked about again.
func TestRefusedGroupsGetRoom(t *testing.T) {
	tr, mkdir := newTree(t, alice)
	mkdir("alice", "alice/deep")
	for i := range maxNamed - 1 {
		mkdir("alice/" + strconv.Itoa(i))
	}
	for _, name := range []string{"alice", "alice/deep"} {
		if err := os.Chown(filepath.Join(tr.root, name), alice, alice); err != nil {
			t.Fatal(err)
		}
	}
	k := known{}
	if err := tr.look("/", k.add, k.forget); err != nil || tr.isShort() {
		t.Fatalf("as many groups as permitted: %v", err)
	}
	// As events tell of them.
	for _, name := range []string{"alice/deep/late", "alice/late"} {
		mkdir(name)
		if err := tr.look("/"+name, k.add, k.forget); !errors.Is(err, errGiven) {
			t.Fatalf("one more: %v", err)
		}
	}
	if err := tr.again(k.add, k.forget); err != nil || !tr.isShort() {
		t.Errorf("no room: %v", err)
	}
	for i, want := range []string{"/alice/deep/late", "/alice/late"} {
		if n := len(k); n != maxNamed+2 {
			t.Errorf("%d groups are known", n)
		}
		path := "/alice/" + strconv.Itoa(i)
		if err := os.Remove(filepath.Join(tr.root, path)); err != nil {
			t.Fatal(err)
		}
		tr.drop(path, k.forget)
		if err := tr.again(k.add, k.forget); err != nil {
			t.Error(err)
		}
		if len(k) != maxNamed+2 {
			t.Errorf("%d groups are known after one has gone", len(k))
		}
		_, one := k["/alice/late"]
		_, other := k["/alice/deep/late"]
		if i == 0 && one == other || i == 1 && (!one || !other) {
			t.Errorf("%s is not known", want)
		}
	}
	if tr.isShort() {
		t.Error("there is room for all, and still groups are missing")
	}
}
