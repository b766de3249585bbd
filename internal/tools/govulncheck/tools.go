// Package govulncheck has no code: its module file pins the program that looks
// for known vulnerabilities, so that neither the main module nor the linters'
// pull it in.
package govulncheck
