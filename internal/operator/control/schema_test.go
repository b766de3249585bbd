package control

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// These are the fields of version 1, one in each line. A line that disappears or changes
// breaks readers. New lines do no harm.
func TestSchema(t *testing.T) {
	var b strings.Builder
	for _, v := range []any{
		Status{}, Interfaces{}, Prefixes{}, Policy{}, Decisions{}, Event{}, Question{}, Explanation{}, Setting{}, Failure{}, Multipath{}, History{},
	} {
		rt := reflect.TypeOf(v)
		fields(&b, rt.Name(), rt)
	}
	golden(t, "schema.txt", []byte(b.String()))
}

func fields(b *strings.Builder, path string, t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		sub, null, ft := path+"."+name, "", f.Type
		if ft.Kind() == reflect.Pointer {
			ft, null = ft.Elem(), " or null"
		}
		if ft.Kind() == reflect.Slice {
			ft, sub = ft.Elem(), sub+"[]"
		}
		if ft.Kind() == reflect.Struct && ft != reflect.TypeFor[time.Time]() {
			fmt.Fprintf(b, "%s: object%s\n", sub, null)
			fields(b, sub, ft)
			continue
		}
		fmt.Fprintf(b, "%s: %v%s\n", sub, ft, null)
	}
}
