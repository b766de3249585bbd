// Package recent has a map that forgets its oldest keys. Policies use it to remember
// clients, because clients never say that they are gone.
package recent

// Map keeps at most a fixed number of keys. When it is full, a new key displaces the
// one that was added first. Changing a key's value does not make the key younger. A Map
// is not safe for concurrent use.
type Map[K comparable, V any] struct {
	values map[K]V
	keys   []K // a ring, in the order in which they were added
	limit  int
	next   int // index in keys of the oldest, once keys is full
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

// Each replaces each value by the result of f.
func (m *Map[K, V]) Each(f func(V) V) {
	for k, v := range m.values {
		m.values[k] = f(v)
	}
}

// Len returns the number of keys.
func (m *Map[K, V]) Len() int { return len(m.values) }
