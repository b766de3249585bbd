package wire

import (
	"bytes"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// swollen returns messages, each of which is large in another place. The memory that they
// leave allocated must not add up.
func swollen(t *testing.T) (list [][]byte) {
	t.Helper()
	const large = MaxMessage - 4096
	for place := range 2 * maxMembers {
		m := &Message{Action: ActionSocketChooseRequest, HasAction: true, Context: Context{Hostname: "x"}}
		var c *Context
		if place < maxMembers {
			b := bytes.Repeat(tlv(TagSocketFile, 1, 0, 0, 0), place+1)
			o := append(zeros(sockOptSize, map[int]byte{8: 1, 16: 0, 17: large >> 8}), make([]byte, large)...)
			list = append(list, message(append(b, tlv(TagOptionsCurrent, o...)...)))
			continue
		}
		c = &m.Context
		switch place % 4 {
		case 0:
			c.Hostname = string(bytes.Repeat([]byte("h"), large))
		case 1:
			c.Result = make([]AddrInfo, large/addrInfoSize)
		case 2:
			c.OptionsSuggested = make([]SockOpt, large/sockOptSize)
		case 3:
			m.Alternates = make([]Alternate, 50)
			for i := range m.Alternates {
				m.Alternates[i].Remotes = []SockAddr{{}, {}}[:0]
			}
		}
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
	}
	return list
}

// However large its messages were, a client that sends no more takes little memory.
func TestSwollenMessages(t *testing.T) {
	list := swollen(t)
	const clients = 64
	memory := func() uint64 {
		runtime.GC()
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := memory()
	all := make([]Message, clients)
	readers := make([]*Reader, clients)
	for i := range all {
		in, out := io.Pipe()
		readers[i] = NewReader(in)
		go func() {
			for _, b := range append(list, message(nil)) { // a short one comes last
				_, _ = out.Write(b)
			}
		}()
		for range len(list) + 1 {
			if err := readers[i].Read(&all[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	per := (int64(memory()) - int64(before)) / clients
	runtime.KeepAlive(all)
	runtime.KeepAlive(readers)
	if per > 64<<10 {
		t.Errorf("%d bytes for a client", per)
	}
}

// Whatever can be large in a Message, and stays in it, is counted.
func TestEveryPlaceCounts(t *testing.T) {
	const much = 1000
	var visit func(path string, at func(*Message) reflect.Value)
	visit = func(path string, at func(*Message) reflect.Value) {
		v := at(&Message{})
		switch v.Kind() {
		case reflect.String:
			m := &Message{}
			at(m).SetString(strings.Repeat("x", much))
			if n := m.kept(); n < much {
				t.Errorf("%s: %d bytes, of %d", path, n, much)
			}
		case reflect.Slice:
			m := &Message{}
			at(m).Set(reflect.MakeSlice(v.Type(), 0, much)) // spare elements count as well
			if n, least := m.kept(), much*int(v.Type().Elem().Size()); n < least {
				t.Errorf("%s: %d bytes, of %d", path, n, least)
			}
			visit(path+"[]", func(m *Message) reflect.Value {
				s := at(m)
				if s.Len() == 0 {
					s.Set(reflect.MakeSlice(s.Type(), 1, 1))
				}
				return s.Index(0)
			})
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					visit(path+"."+v.Type().Field(i).Name, func(m *Message) reflect.Value { return at(m).Field(i) })
				}
			}
		default: // numbers; what is behind pointers is made again for each message
		}
	}
	visit("Message", func(m *Message) reflect.Value { return reflect.ValueOf(m).Elem() })
}
