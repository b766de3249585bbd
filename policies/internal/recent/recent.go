// Package recent has a map that forgets its oldest keys, for what policies
// remember of clients that never say goodbye.
package recent

// Map keeps at most a fixed number of keys; a new one then displaces the one
// that was added first. Changing a key's value does not make it younger. It is
// not safe for concurrent use.
type Map[K comparable, V any] struct {
	values map[K]V
	keys   []K // ring, in the order added
	limit  int
	next   int // of keys, once it is full
}

// New returns an empty map for up to limit keys, at least one.
func New[K comparable, V any](limit int) *Map[K, V] {
	return &Map[K, V]{values: map[K]V{}, limit: max(limit, 1)}
}

// Get returns the value of k and whether k is known.
func (m *Map[K, V]) Get(k K) (V, bool) {
	v, ok := m.values[k]
	return v, ok
}

// Put sets the value of k.
func (m *Map[K, V]) Put(k K, v V) {
	if _, known := m.values[k]; !known {
		if len(m.keys) < m.limit {
			m.keys = append(m.keys, k)
		} else {
			delete(m.values, m.keys[m.next])
			m.keys[m.next] = k
			m.next = (m.next + 1) % m.limit
		}
	}
	m.values[k] = v
}

// Each replaces each value by what f makes of it.
func (m *Map[K, V]) Each(f func(V) V) {
	for k, v := range m.values {
		m.values[k] = f(v)
	}
}

// Len is the number of keys.
func (m *Map[K, V]) Len() int { return len(m.values) }
