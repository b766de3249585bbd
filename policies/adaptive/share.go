package adaptive

import "time"

// transfer is a decision that is believed to be under way: bytes that come over
// a prefix. Times are those of its link.
type transfer struct {
	begin time.Duration // of its first byte
	left  float64       // bytes
	most  float64       // rate that its window allows, bytes per second
	until time.Duration // forgotten then
	id    uint64
}

// done is the rest in bytes of a transfer that is over.
const done = 1

// drain lets transfers go on from one time to another. It returns those that are
// left, in the same memory, and how many bytes went.
func drain(list []transfer, capacity float64, from, to time.Duration) (rest []transfer, bytes float64) {
	for from < to && len(list) > 0 {
		rate, next := share(list, capacity, from, to)
		var b float64
		list, b = step(list, rate, from, next, nil)
		bytes += b
		from = next
	}
	return list, bytes
}

// step lets transfers go on at the given rate, and calls ended for those that
// end, if it is not nil.
func step(list []transfer, rate float64, from, to time.Duration, ended func(id uint64)) (rest []transfer, bytes float64) {
	length := (to - from).Seconds()
	rest = list[:0]
	for _, x := range list {
		if x.begin <= from {
			b := min(x.left, min(rate, x.most)*length)
			x.left -= b
			bytes += b
		}
		switch {
		case x.left >= done:
			rest = append(rest, x)
		case ended != nil:
			ended(x.id)
		}
	}
	return rest, bytes
}

// share returns the rate that transfers may have at a time, each as far as its
// window allows, and until when that stays so, at most until end.
func share(list []transfer, capacity float64, at, end time.Duration) (rate float64, until time.Duration) {
	active := 0
	for i := range list {
		if list[i].begin <= at {
			active++
		} else {
			end = min(end, list[i].begin)
		}
	}
	// What slow transfers leave the others share. Three rounds come close.
	rest, fast := capacity, active
	rate = capacity
	for range 3 {
		if fast == 0 {
			break
		}
		rate = max(rest, 1) / float64(fast)
		rest, fast = capacity, 0
		for i := range list {
			switch {
			case list[i].begin > at:
			case list[i].most <= rate:
				rest -= list[i].most
			default:
				fast++
			}
		}
	}
	for i := range list {
		if x := &list[i]; x.begin <= at {
			end = min(end, at+seconds(x.left/min(rate, x.most)))
		}
	}
	return rate, max(end, at+time.Microsecond)
}

// longest is what a longer time is cut to.
const longest = 1000 * time.Hour

func seconds(s float64) time.Duration {
	if !(s < longest.Seconds()) {
		return longest
	}
	return time.Duration(s*float64(time.Second)) + 1
}
