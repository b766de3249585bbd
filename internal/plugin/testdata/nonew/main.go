// A plugin without the symbol New.
package main

func main() {}
