package recent

import "testing"

func TestMapForgetsTheOldest(t *testing.T) {
	m := New[string, int](2)
	m.Put("a", 1)
	m.Put("b", 2)
	m.Put("a", 3) // that makes it no younger
	m.Put("c", 4)
	m.Put("d", 5)
	m.Put("d", 6)
	for _, tt := range []struct {
		key   string
		value int
		known bool
	}{{"a", 0, false}, {"b", 0, false}, {"c", 4, true}, {"d", 6, true}} {
		if v, ok := m.Get(tt.key); v != tt.value || ok != tt.known {
			t.Errorf("Get(%q) = %d, %v; want %d, %v", tt.key, v, ok, tt.value, tt.known)
		}
	}
	if m.Len() != 2 {
		t.Errorf("Len = %d", m.Len())
	}
}

func TestMapHoldsAtLeastOne(t *testing.T) {
	m := New[int, int](0)
	m.Put(1, 1)
	m.Put(2, 2)
	if _, ok := m.Get(2); !ok || m.Len() != 1 {
		t.Error("the only key is not the last one")
	}
}

func TestEach(t *testing.T) {
	m := New[string, int](2)
	m.Put("a", 1)
	m.Put("b", 2)
	m.Each(func(v int) int { return 10 * v })
	for k, want := range map[string]int{"a": 10, "b": 20} {
		if v, ok := m.Get(k); v != want || !ok {
			t.Errorf("Get(%q) = %d, %v; want %d", k, v, ok, want)
		}
	}
}
