// Package nfpm has no code: its module file pins the program that makes the
// packages, so that neither the main module nor the linters' pull it in.
package nfpm
