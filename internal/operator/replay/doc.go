// Package replay asks a policy what it would have decided in place of the policy
// that was in charge, which may be the same one. It reads recorded decisions
// (internal/operator/decisionlog), puts each recorded request to the policy with the
// measurements of that time, and compares the decisions.
//
// A policy depends on its input only, so no daemon and no network are needed. The
// measurements were made under the recorded choices: replay cannot know how the
// networks would have fared under the other ones. A policy that counts starts from
// nothing, as after a restart.
package replay
