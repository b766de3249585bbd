package config

import (
	"bytes"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// HCL's parser and evaluator are recursive, so nesting is bounded before parsing.
const (
	maxTokens     = 1 << 16
	maxDepth      = 64
	maxConditions = 1024 // a ? b : c nests even without brackets
	// maxExponent is a little more than a float64 can hold. The evaluator would accept
	// any exponent, and write out all the digits of a quotient.
	maxExponent = 400
)

// bounded tells whether the file keeps to the bounds, and reports it otherwise.
func (h *hclFile) bounded() bool {
	tokens, _ := hclsyntax.LexConfig(h.src.text, h.src.name, hcl.InitialPos)
	if len(tokens) > maxTokens {
		h.errorf(position(tokens[maxTokens].Range), "too long: more than %d words and signs", maxTokens)
		return false
	}
	depth, unary, conditions := 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenOQuote,
			hclsyntax.TokenOHeredoc, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenCQuote,
			hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
			depth--
		case hclsyntax.TokenMinus, hclsyntax.TokenBang:
			unary++
		case hclsyntax.TokenQuestion:
			conditions++
		case hclsyntax.TokenNumberLit:
			if _, exponent, ok := bytes.Cut(bytes.ToLower(t.Bytes), []byte("e")); ok {
				if n, err := strconv.Atoi(string(exponent)); err != nil || max(n, -n) > maxExponent {
					h.errorf(position(t.Range), "the number is too large or too small")
					return false
				}
			}
		}
		if t.Type != hclsyntax.TokenMinus && t.Type != hclsyntax.TokenBang {
			unary = 0
		}
		if depth > maxDepth || unary > maxDepth || conditions > maxConditions {
			h.errorf(position(t.Range), "nested too deep")
			return false
		}
	}
	return true
}
