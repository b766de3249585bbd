package config

import (
	"bytes"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// HCL's parser and evaluator recurse, so what could nest is bounded before it
// is parsed.
const (
	maxTokens     = 1 << 16
	maxDepth      = 64
	maxConditions = 1024 // a ? b : c nests without brackets
	// maxExponent is a bit more than a float64 can hold. The evaluator would
	// compute with any, and write out all the digits of a quotient.
	maxExponent = 400
)

// bounded checks the bounds on what the parser is given.
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
