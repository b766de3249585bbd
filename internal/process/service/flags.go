package service

import (
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// NewFlags makes the flags of a program. They are shown in the order in which they are
// defined. Errors are for the caller to print, once.
func NewFlags(program string) *pflag.FlagSet {
	fs := pflag.NewFlagSet(program, pflag.ContinueOnError)
	fs.SortFlags = false
	fs.SetOutput(io.Discard)
	return fs
}

// Parse adds --help to the flags, and -h unless that is another flag, and parses args.
// If help was asked for, Parse prints before, the flags and after, and returns true. An
// error in args is marked as Usage.
func Parse(fs *pflag.FlagSet, args []string, stdout io.Writer, before, after string) (helped bool, err error) {
	short := "h"
	if fs.ShorthandLookup(short) != nil {
		short = ""
	}
	help := fs.BoolP("help", short, false, "print this and exit")
	if err := fs.Parse(args); err != nil {
		return false, Usage(err)
	}
	if !*help {
		return false, nil
	}
	_, err = fmt.Fprint(stdout, before, FlagHelp(fs), after)
	return true, err
}
