// Package cyclonedx has no code: its module file pins the program that writes the
// software bills of materials, so that neither the main module nor the linters'
// pull it in.
package cyclonedx
