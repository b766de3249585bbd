// Package replay asks a policy how it would have decided in the past, in place of the
// policy that was in charge, which may be the same one. It reads recorded decisions
// (internal/operator/decisionlog), gives each recorded request to the policy with the
// measurements of that time, and compares the decisions.
//
// A policy that learns is told of the recorded transfers as well. A transfer counts as the
// policy's own if the policy decided as was recorded, or chose the network that the
// transfer used.
//
// A policy depends only on its input, so no daemon and no network are needed. The
// measurements come from the recorded choices. Replay cannot know how the networks
// would have performed under other choices. A policy that counts starts from nothing,
// as after a restart.
package replay
