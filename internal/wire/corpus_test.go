package wire

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The fuzz corpus contains the tag of each extension, so that every run of the tests
// decodes all of them, and fuzzing begins with them.
func TestCorpusHasEveryTag(t *testing.T) {
	files, err := filepath.Glob("testdata/fuzz/FuzzDecode/*")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[Tag]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for rest := corpusBytes(t, file, string(text)); len(rest) >= headerSize; {
			tag, size := Tag(le.Uint32(rest)), le.Uint64(rest[4:])
			seen[tag] = true
			if size > uint64(len(rest)-headerSize) {
				break
			}
			rest = rest[headerSize+size:]
		}
	}
	for tag, name := range tagNames {
		if tag >= TagFeatures && !seen[tag] {
			t.Errorf("no file of the corpus has tag %#x, %s", uint32(tag), name)
		}
	}
}

// corpusBytes reads a file of a corpus of []byte.
func corpusBytes(t *testing.T, file, text string) []byte {
	t.Helper()
	_, value, _ := strings.Cut(text, "[]byte(")
	quoted, _, ok := strings.Cut(value, ")\n")
	b, err := strconv.Unquote(quoted)
	if !ok || err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return []byte(b)
}

// The corpus has an answer that refuses, one that forbids, and values of other sizes.
func TestCorpusOnly(t *testing.T) {
	b, err := os.ReadFile("testdata/fuzz/FuzzDecode/only-answers")
	if err != nil {
		t.Fatal(err)
	}
	var m Message
	if err := Decode(corpusBytes(t, "only-answers", string(b)), &m); err != nil || m.Only != OnlyThese|OnlyNone || m.Reason == "" {
		t.Errorf("%v, %q, %v", m.Only, m.Reason, err)
	}
	if !bytes.Contains(b, []byte(`J\x00\x00\x00`)) { // 0x4a
		t.Error("no tag 0x4a")
	}
}
