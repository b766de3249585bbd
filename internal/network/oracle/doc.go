// Package oracle asks the kernel what it would do with packets, instead of deriving
// that from routing tables. So rules, source-specific routes, marks, next-hop objects
// and router preferences are respected without being understood here, and so is
// whatever the kernel will add. The question is RTM_GETROUTE of rtnetlink(7). Asking
// sends no packet.
//
// A [Kernel] answers single questions. [Everywhere.Far] concludes about "everywhere"
// from the answers for several different destinations. A [Reacher] tells which
// interfaces lead to a destination, and remembers the answers.
//
// Where packets to a destination go is asked here, and concluded from routes nowhere.
// Other packages look at routes and rules for what cannot be asked, such as which link is
// a VPN, and where rules of ours have to stand.
package oracle
