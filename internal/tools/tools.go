// Package tools has no code: its module file pins the linters, so that the
// main module stays small.
package tools
