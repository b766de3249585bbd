// Call measures how well two people would hear each other (E12). The networks begin to
// lose packets, or to delay each packet by another time, and later stop doing so. The
// call is made over each network alone, and by a program that asks mamma and moves the
// call when another network has become better.
//
//	go run ./tests/evaluate/call                # five calls in each case, about six minutes
//	go run ./tests/evaluate/call --quick        # a short call in two cases, with limits that must hold
//
// A call is 50 packets a second of 172 bytes each way, as G.711 has them. The calls of one
// case take place at the same time over the same two emulated links. The score is that of
// the E-model (package internal/emodel), in windows of five seconds.
package main
