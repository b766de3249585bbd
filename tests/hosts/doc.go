// Package hosts is a library of hosts as people have them. Each file NAME.host
// describes a host, in the language of package hostfile. It also says what mamma should
// do there: which networks it manages, where connections go, what the kernel then
// answers, and what the doctor finds. The test loads each host into a network namespace
// of the real kernel and runs the real daemon, client and doctor there.
//
// Expectations that do not hold yet are listed in expected-failures.txt.
package hosts
