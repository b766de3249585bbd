// Package adaptive is a policy of this project's own. It predicts, as the
// earliest-arrival family does, when a transfer would be complete over each
// prefix, but keeps book of its recent decisions for that: what it placed on a
// prefix a moment ago shares the prefix's capacity with the next transfer, though
// no measurement shows it yet. It also counts by how much the transfers under way
// would be delayed, and so spreads load that a greedy choice would pile up.
//
// The measurements correct the picture: what arrives on an interface shows
// whether the transfers go on as believed, whether a link has become slow, and
// how much others use it.
package adaptive
