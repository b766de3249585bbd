package intent

import "strconv"

// name returns names[i], or kind with the number in brackets if there is none.
func name(i int64, kind string, names ...string) string {
	if i >= 0 && i < int64(len(names)) {
		return names[i]
	}
	return kind + "(" + strconv.FormatInt(i, 10) + ")"
}
