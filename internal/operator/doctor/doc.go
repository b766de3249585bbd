// Package doctor finds what makes choosing between networks ineffective: routes that
// lead elsewhere, packet filters, gateways and name servers that do not answer, and
// settings of the kernel and of the configuration.
//
// Collect gathers Facts from the kernel, and asks gateways and name servers. Examine
// judges the facts. The package changes nothing on the host. It makes proposals, and
// the reader of a Finding decides.
package doctor
