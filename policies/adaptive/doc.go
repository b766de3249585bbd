// Package adaptive is a policy that the Socket Intents prototype did not have. Like the
// earliest-arrival policies, it predicts for each prefix when a transfer would be
// complete. Unlike them, it remembers its recent decisions. A transfer that it has just
// placed on a prefix shares the prefix's capacity with the next one, even though no
// measurement shows the transfer yet. The policy also counts by how much the next
// transfer would delay those under way. So it spreads load that a greedy choice would
// pile up.
//
// Measurements correct this picture. The bytes that arrive on an interface show whether
// the transfers proceed as predicted, whether a link has become slow, and how much
// other programs use it.
package adaptive
