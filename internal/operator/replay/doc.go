// Package replay asks a policy what it would have decided where another one, or
// the same one, did decide: it reads recorded decisions (internal/operator/decisionlog),
// puts each request to the policy as it was put then, with the measurements of
// then, and compares.
//
// Policies are pure, so this needs no daemon and no network. What it cannot know
// is how the network would have changed if the policy had decided then: each
// request comes with what was measured under the recorded choices. A policy that
// counts starts from nothing here, as after a restart.
package replay
