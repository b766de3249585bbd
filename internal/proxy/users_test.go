package proxy

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
)

// This was made by another implementation (Python's hashlib.pbkdf2_hmac), with the password
// "secret".
const aliceHash = "$pbkdf2-sha256$1000$AAECAwQFBgcICQoLDA0ODw$Tvsru20utY6o3q7VRBeuL9h/1QqKhWhwk2PaYNRWBgY"

func TestUsers(t *testing.T) {
	u, err := readUsers(strings.NewReader("# comment\n\nalice:" + aliceHash + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, password string
		want           bool
	}{
		{"alice", "secret", true}, {"alice", "secret", true}, // the second time from memory
		{"alice", "Secret", false}, {"alice", "", false}, {"bob", "secret", false}, {"", "", false},
		{"alicesecret", "", false}, {"alices", "ecret", false},
	} {
		if got := u.Authenticate(tt.name, tt.password); got != tt.want {
			t.Errorf("%q with %q: %v", tt.name, tt.password, got)
		}
	}
	if !(withoutIntents{u}).Authenticate("alice,category=query", "secret") {
		t.Error("a name with intents is not known")
	}
}

// Whoever tries passwords learns nothing of the names from the time that it takes, even
// where the hashes were made at different times, with different numbers of rounds.
func TestChecksTakeTheSameTime(t *testing.T) {
	var text strings.Builder
	for name, rounds := range map[string]int{"old": 1000, "new": 3000, "between": 2000} {
		hash, err := hashPassword("secret", rounds)
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(name + ":" + hash + "\n")
	}
	u, err := readUsers(strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	computed, derive := 0, u.derive
	u.derive = func(password string, salt []byte, rounds int) ([]byte, error) {
		computed += rounds
		return derive(password, salt, rounds)
	}
	for _, name := range []string{"old", "between", "new", "nobody"} {
		for _, password := range []string{"wrong", "secret"} {
			computed = 0
			if got := u.Authenticate(name, password); got != (name != "nobody" && password == "secret") {
				t.Errorf("%s with %s: %v", name, password, got)
			}
			if computed != 3000 {
				t.Errorf("%s with %s: %d rounds", name, password, computed)
			}
		}
	}
}

// However many clients have their passwords checked, one check runs at a time, and what is
// remembered of those that were right is bounded.
func TestChecksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, err := readUsers(strings.NewReader("alice:" + aliceHash + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		running, end := make(chan struct{}, 10), make(chan struct{})
		derive := u.derive
		u.derive = func(password string, salt []byte, rounds int) ([]byte, error) {
			running <- struct{}{}
			<-end
			return derive(password, salt, rounds)
		}
		for range 10 {
			go u.Authenticate("alice", "wrong")
		}
		synctest.Wait()
		if n := len(running); n != 1 {
			t.Errorf("%d checks at a time", n)
		}
		close(end)
		synctest.Wait()
		u.derive = derive
		for i := range maxVerified {
			u.verified[[32]byte{1, byte(i), byte(i >> 8)}] = struct{}{}
		}
		if !u.Authenticate("alice", "secret") || len(u.verified) > maxVerified {
			t.Errorf("%d are remembered", len(u.verified))
		}
	})
}

func TestHashPassword(t *testing.T) {
	text, err := hashPassword("päss", 1000)
	if err != nil {
		t.Fatal(err)
	}
	u, err := readUsers(strings.NewReader("bob:" + text))
	if err != nil {
		t.Fatal(err)
	}
	if !u.Authenticate("bob", "päss") || u.Authenticate("bob", "pass") {
		t.Errorf("%q is not the hash", text)
	}
}

func TestUsersFileErrors(t *testing.T) {
	for name, text := range map[string]string{
		"no hash": "alice", "no name": ":" + aliceHash, "plain password": "alice:secret", "another scheme": "alice:$2y$05$abc",
		"too many iterations": "alice:" + strings.Replace(aliceHash, "1000", "1000000000", 1), "no salt": "alice:" + strings.Replace(aliceHash, "AAECAwQFBgcICQoLDA0ODw", "", 1),
		"twice": "alice:" + aliceHash + "\nalice:" + aliceHash, "a name that looks like intents": "a=b:" + aliceHash,
		"a name behind 1 MiB": strings.Repeat("# comment\n", maxUsersFile/10) + "alice:" + aliceHash,
	} {
		if _, err := readUsers(strings.NewReader(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte("alice:"+aliceHash), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadUsers(path); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := loadUsers(path); err == nil {
		t.Error("a file that everybody can read is accepted")
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadUsers(fifo); err == nil {
		t.Error("a FIFO that nobody writes to is accepted")
	}
}

// A file of the permitted length is read whole. Of a longer one, no part is taken for the
// whole: users at its end would be refused without a word.
func TestUsersFileLength(t *testing.T) {
	last := "alice:" + aliceHash
	exact := "#" + strings.Repeat("x", 63) + "\n"
	text := strings.Repeat(exact, maxUsersFile/len(exact)-2)
	text += "#" + strings.Repeat("y", maxUsersFile-len(text)-len(last)-2) + "\n" + last
	if len(text) != maxUsersFile {
		t.Fatalf("%d bytes", len(text))
	}
	u, err := readUsers(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := u.hashes["alice"]; !ok {
		t.Error("the last user is not known")
	}
	_, err = readUsers(strings.NewReader("#" + text))
	if err == nil || !strings.Contains(err.Error(), "16131: only the first 1 MiB") {
		t.Errorf("a byte more: %v", err)
	}
}

// Every entry that is accepted can be checked in bounded time.
func FuzzUsers(f *testing.F) {
	f.Add("alice:$pbkdf2-sha256$600000$c2FsdHNhbHQ$" + strings.Repeat("A", 43) + "\n# bob\n\n")
	f.Add("alice:$pbkdf2-sha256$99999999999$x$y")
	f.Add("a=b:x")
	f.Add(":")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := readUsers(strings.NewReader(text))
		if err != nil {
			return
		}
		for name, h := range u.hashes {
			if name == "" || strings.ContainsAny(name, "=,:") || h.iterations < 1 || h.iterations > maxIterations || len(h.hash) == 0 {
				t.Errorf("accepted %q: %+v", name, h)
			}
		}
	})
}

// The name that is checked is never part of the text that is taken for intents.
func FuzzSplitUser(f *testing.F) {
	for _, user := range []string{"", "alice", "alice,filesize=3M", "filesize=3M", "a,b", ",=", "=,"} {
		f.Add(user)
	}
	f.Fuzz(func(t *testing.T, user string) {
		name, intents := splitUser(user)
		if strings.Contains(name, "=") && intents != "" || !strings.HasPrefix(user, name) || !strings.HasSuffix(user, intents) {
			t.Errorf("%q is %q and %q", user, name, intents)
		}
	})
}
