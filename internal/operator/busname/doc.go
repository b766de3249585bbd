// Package busname shows other programs on the system bus (D-Bus) what mamma knows: the
// networks, when they change, and what would be decided. The name is
// org.socketintents.Mamma1; doc/man/mamma-desktop.7 describes it. Everything can be
// read and nothing changed.
//
// Anybody on the host may call. A call is decoded only if its arguments have the types
// of the method. Calls wait in a bounded queue, of which one sender gets a part, and
// are answered one after the other. The configuration of the bus says who may own the
// name and who may call (init/org.socketintents.Mamma1.xml).
package busname
