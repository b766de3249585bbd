package proxy

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/socket-intents/mamma/internal/bounded"
	"github.com/socket-intents/mamma/socks"
)

const (
	hashPrefix     = "$pbkdf2-sha256$" // in passlib's notation
	hashIterations = 600_000           // OWASP's figure for SHA-256 of 2023
	maxIterations  = 10_000_000
	saltSize       = 16

	maxUsersFile = 1 << 20
	// checksAtOnce bounds the checks that run at once. A check takes a good part of a
	// second of processor time. Other connections wait their turn.
	checksAtOnce = 1
	maxVerified  = 1024
)

// users checks names and passwords against a file of lines NAME:HASH. It is safe
// for concurrent use.
type users struct {
	hashes map[string]passwordHash
	nobody passwordHash // checked for unknown names
	// rounds is the largest number of iterations of all hashes. Each check computes so many,
	// so that its time tells neither whether a name is known nor which one of several it is.
	rounds int
	derive func(password string, salt []byte, rounds int) ([]byte, error)
	checks chan struct{}
	key    [32]byte // keys the digests in verified; another one at each start

	mu       sync.Mutex
	verified map[[sha256.Size]byte]struct{} // digests of correct names and passwords, so that only the first check is slow
}

var _ socks.Authenticator = (*users)(nil)

type passwordHash struct {
	iterations int
	salt, hash []byte
}

// saltEncoding is passlib's variant of base64.
var saltEncoding = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./").WithPadding(base64.NoPadding)

// loadUsers reads a password file, which others must not be able to read.
func loadUsers(path string) (*users, error) {
	f, err := bounded.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s can be read by everybody (mode %v); chmod o= %s", path, fi.Mode().Perm(), path)
	}
	u, err := readUsers(f)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", path, err)
	}
	return u, nil
}

// readUsers reads the lines of a password file. Errors begin with the line.
func readUsers(r io.Reader) (*users, error) {
	u := &users{hashes: map[string]passwordHash{}, checks: make(chan struct{}, checksAtOnce), verified: map[[sha256.Size]byte]struct{}{}}
	u.derive = func(password string, salt []byte, rounds int) ([]byte, error) {
		return pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	}
	_, _ = rand.Read(u.key[:]) // the error is ignored, because reading random bytes never fails
	text, err := bounded.ReadAll(r, maxUsersFile)
	if errors.Is(err, bounded.ErrTooLong) {
		return nil, fmt.Errorf("%d: only the first 1 MiB is read, and it ends in this line", 1+bytes.Count(text, []byte{'\n'}))
	}
	if err != nil {
		return nil, fmt.Errorf(" %w", err)
	}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		name, hash, ok := strings.Cut(string(line), ":")
		if !ok || name == "" || strings.ContainsAny(name, "=,") {
			return nil, fmt.Errorf("%d: want NAME:HASH, with neither \"=\" nor \",\" in NAME; \"muacsocksd --hash-password\" makes a HASH", n)
		}
		h, err := parseHash(hash)
		if err != nil {
			return nil, fmt.Errorf("%d: user %q: %w", n, name, err)
		}
		if _, twice := u.hashes[name]; twice {
			return nil, fmt.Errorf("%d: a second user %q", n, name)
		}
		u.hashes[name] = h
		u.rounds = max(u.rounds, h.iterations)
	}
	u.rounds = cmp.Or(u.rounds, hashIterations)
	u.nobody = passwordHash{iterations: u.rounds, salt: make([]byte, saltSize), hash: make([]byte, sha256.Size)}
	return u, nil
}

var errHash = errors.New("not a hash that \"muacsocksd --hash-password\" makes")

func parseHash(text string) (passwordHash, error) {
	rest, ok := strings.CutPrefix(text, hashPrefix)
	f := strings.Split(rest, "$")
	if !ok || len(f) != 3 {
		return passwordHash{}, errHash
	}
	n, err := strconv.Atoi(f[0])
	salt, err1 := saltEncoding.DecodeString(f[1])
	hash, err2 := saltEncoding.DecodeString(f[2])
	if err != nil || err1 != nil || err2 != nil || n < 1 || n > maxIterations || len(salt) == 0 || len(hash) != sha256.Size {
		return passwordHash{}, errHash
	}
	return passwordHash{n, salt, hash}, nil
}

// hashPassword makes the text that parseHash reads.
func hashPassword(password string, iterations int) (string, error) {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // the error is ignored, because reading random bytes never fails
	key, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s%d$%s$%s", hashPrefix, iterations, saltEncoding.EncodeToString(salt), saltEncoding.EncodeToString(key)), nil
}

// Authenticate tells whether the password is right.
func (u *users) Authenticate(name, password string) bool {
	mac := hmac.New(sha256.New, u.key[:])
	_, _ = fmt.Fprintf(mac, "%d:%s%s", len(name), name, password) // the error is ignored, because writing to a hash never fails
	sum := [sha256.Size]byte(mac.Sum(nil))
	u.mu.Lock()
	_, ok := u.verified[sum]
	u.mu.Unlock()
	if ok {
		return true
	}
	h, known := u.hashes[name]
	if !known {
		h = u.nobody
	}
	u.checks <- struct{}{}
	key, err := u.derive(password, h.salt, h.iterations)
	if rest := u.rounds - h.iterations; rest > 0 && err == nil {
		_, err = u.derive(password, h.salt, rest)
	}
	<-u.checks
	if err != nil || subtle.ConstantTimeCompare(key, h.hash) != 1 || !known {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.verified) >= maxVerified {
		clear(u.verified)
	}
	u.verified[sum] = struct{}{}
	return true
}
