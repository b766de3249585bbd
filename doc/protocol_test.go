package doc

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/wire"
)

func protocol(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tlv has the tag's number and name from the page's dumps.
var tlv = regexp.MustCompile(`tag (0x[0-9a-f]+) (\w+), ([0-9]+) bytes`)

// The exchange in the page is the recorded one byte by byte, decodes, and its
// remarks on tags and lengths are true.
func TestProtocolExchange(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```\n([a-z0-9-]+\\.bin)\n(.*?)```").FindAllStringSubmatch(protocol(t), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d messages shown", len(blocks))
	}
	for _, block := range blocks {
		want, err := os.ReadFile("../internal/wire/testdata/captures/" + block[1])
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for l := range strings.Lines(block[2]) {
			var offset int
			if _, err := fmt.Sscanf(l, "%x", &offset); err != nil || offset != len(got) {
				t.Errorf("%s: %q begins at %#x", block[1], l, len(got))
			}
			text, remark := l[6:53], l[53:]
			b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			if m := tlv.FindStringSubmatch(remark); m != nil {
				tag, _ := strconv.ParseUint(m[1], 0, 32)
				if b[0] != byte(tag) || strconv.Itoa(int(b[4])) != m[3] {
					t.Errorf("%s: %q is not what it says", block[1], l)
				}
				if name := wire.Tag(tag).String(); m[2] != name && (name != "eof" || m[2] != "end") {
					t.Errorf("%s: %q is %s", block[1], l, name)
				}
			}
			got = append(got, b...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is another message", block[1])
		}
		var m wire.Message
		if err := wire.Decode(got, &m); err != nil {
			t.Error(err)
		}
	}
}

// The tables name every tag, action and feature by its number.
func TestProtocolTables(t *testing.T) {
	text := protocol(t)
	rows := map[string]bool{}
	for l := range strings.Lines(text) {
		if cells := strings.Split(l, "|"); len(cells) > 3 {
			rows[strings.TrimSpace(cells[1])+" "+strings.TrimSpace(cells[2])] = true
		}
	}
	for n := range 256 {
		if tag := wire.Tag(n); !strings.HasPrefix(tag.String(), "tag(") && !rows[fmt.Sprintf("%#02x %v", n, tag)] && !rows[fmt.Sprintf("0x%02x %v", n, tag)] {
			t.Errorf("tag %#x, %v, is missing", n, tag)
		}
		action := wire.Action(n)
		if action == wire.ActionSocketConnectFallback { // never travels
			continue
		}
		if !strings.HasPrefix(action.String(), "action(") && !rows[fmt.Sprintf("%d %v", n, action)] && !rows[fmt.Sprintf("%#x %v", n, action)] {
			t.Errorf("action %d, %v, is missing", n, action)
		}
	}
	_, features, _ := strings.Cut(text, "| 0x40 | features |")
	features, _, _ = strings.Cut(features, "\n")
	for bit := range 32 {
		if f := wire.Features(1) << bit; !strings.HasPrefix(f.String(), "0x") && !strings.Contains(features, fmt.Sprintf("%v %d", f, uint32(f))) {
			t.Errorf("feature %v is missing", f)
		}
	}
}
