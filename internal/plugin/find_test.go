package plugin

import (
	"errors"
	"testing"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	one, two := dir+"/one", dir+"/two"
	write(t, one+"/a.so")
	write(t, two+"/a.so")
	write(t, two+"/b.so")
	both := one + ":" + two

	tests := []struct{ name, searchPath, want, wantErr string }{
		{"a", both, one + "/a.so", ""},
		{"b", both, two + "/b.so", ""},
		{"b.so", both, two + "/b.so", ""},
		{"./a.so", both, "./a.so", ""},
		{"/x/y.so", "", "/x/y.so", ""},
		{"c", both, "", "policy plugin c.so does not exist; looked in " + one + ", " + two},
		{"c", "", "", "policy plugin c.so does not exist; no directory is searched for plugins"},
		{"find", ":", "", "policy plugin find.so does not exist; no directory is searched for plugins"},
		{"", both, "", "policy plugin .so does not exist; looked in " + one + ", " + two},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Find(tt.name, tt.searchPath)
			text := ""
			if e, ok := errors.AsType[*Error](err); ok && e.Kind == Missing {
				text = e.Error()
			} else if err != nil {
				t.Fatalf("got %v, want an *Error of kind %v", err, Missing)
			}
			if got != tt.want || text != tt.wantErr {
				t.Errorf("got %q, %q\nwant %q, %q", got, text, tt.want, tt.wantErr)
			}
		})
	}
}

func TestIsPlugin(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/text.so")
	for _, path := range []string{dir, dir + "/text.so", dir + "/nothing.so"} {
		if IsPlugin(path) {
			t.Errorf("%s taken for a plugin", path)
		}
	}
}
