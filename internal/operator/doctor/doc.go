// Package doctor finds what makes it pointless to choose between networks: routes that
// lead elsewhere, filters, gateways and name servers that do not answer, and settings of
// the kernel and of the configuration.
//
// Collect gathers Facts from the kernel, and asks gateways and name servers. Examine
// judges the facts. The package changes nothing on the host: it proposes, and the reader
// of a Finding decides.
package doctor
