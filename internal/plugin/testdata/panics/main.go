// A plugin that cannot be initialized.
package main

func init() { panic("out of order") }

func main() {}
