// Package hosts is a library of hosts as people have them. Each file NAME.host
// describes one (its language is that of package hostfile) together with what mamma
// should do there: which networks it manages, where connections go, what the kernel
// then says, and what the doctor finds. The test loads each into a network namespace
// of the real kernel and runs the real daemon, client and doctor in it.
//
// What is not right yet is listed in expected-failures.txt.
package hosts
