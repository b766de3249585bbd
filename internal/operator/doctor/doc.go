// Package doctor finds what would defeat a choice between networks: routes that
// lead elsewhere, filters, gateways and name servers that do not answer,
// settings of the kernel and of the configuration.
//
// Collect gathers Facts from the kernel and asks gateways and name servers;
// Examine judges them and changes nothing, nor does anything else here. What to
// do about a Finding is left to who reads it.
package doctor
