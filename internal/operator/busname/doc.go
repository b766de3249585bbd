// Package busname offers to other programs on the system bus (D-Bus) what mamma knows:
// the networks, when they change, and what would be decided. The name is
// org.socketintents.Mamma1; doc/man/mamma-desktop.7 describes it. Everything can be
// read and nothing changed.
//
// Callers are anybody on the host. Their calls are decoded only if they have the types of
// the method, wait in a bounded queue, of which one sender gets a part, and are answered
// one after the other. Who may own the name and who may call is left to the bus
// (init/org.socketintents.Mamma1.xml).
package busname
