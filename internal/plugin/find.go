package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// extension ends the names of plugins.
const extension = ".so"

// Find gives the path of the plugin called name. A name with a slash is a path
// already and is returned as it is. Any other is looked for as NAME.so, or as
// NAME if it ends in .so, in the directories of searchPath, which are separated
// by colons; the first that has it wins. Nothing is opened or checked; an empty
// element of searchPath is skipped and does not mean the working directory. The
// error is an *Error of kind Missing that says where the plugin was looked for.
func Find(name, searchPath string) (string, error) {
	if strings.ContainsRune(name, '/') {
		return name, nil
	}
	file := name
	if !strings.HasSuffix(file, extension) {
		file += extension
	}
	var looked []string
	for _, dir := range filepath.SplitList(searchPath) {
		if dir == "" {
			continue
		}
		path := filepath.Join(dir, file)
		_, err := os.Lstat(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", &Error{Kind: Missing, Path: path, Reason: "cannot be looked up", Err: err}
		}
		looked = append(looked, dir)
	}
	where := "no directory is searched for plugins"
	if len(looked) > 0 {
		where = "looked in " + strings.Join(looked, ", ")
	}
	return "", &Error{Kind: Missing, Path: file, Reason: fmt.Sprintf("does not exist; %s", where)}
}

// IsPlugin tells whether a Go plugin lies at path, whoever may write to it and
// whatever it was built for. It does not open it as a plugin.
func IsPlugin(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // read only
	_, fail := readPlugin(f)
	return fail == nil
}
