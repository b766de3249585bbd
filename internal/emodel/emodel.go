// Package emodel rates how well people hear each other over a path that delays packets and
// loses some of them. It is the E-model of ITU-T G.107 with its default values, for a
// codec of 64 kbit/s that conceals lost packets (G.711 with packet loss concealment, for
// which ITU-T G.113 gives the impairment).
//
// Every function of the package is pure.
package emodel

import (
	"math"
	"time"
)

// The default values of ITU-T G.107, table 2, and what follows from them.
const (
	ro        = 94.77 // basic signal-to-noise ratio
	is        = 1.41  // impairments that come together with speech
	telr      = 65.0  // talker echo loudness rating, dB
	wepl      = 110.0 // weighted echo path loss, dB
	roe       = ro    // ro, as the talker echo is compared with it
	ie        = 0.0   // impairment by the codec itself
	bpl       = 25.1  // how robust the codec is against loss
	impairAll = 95.0  // impairment if nothing arrives
)

// Rating returns the transmission rating R of a path with the given delay from mouth to
// ear, in one direction. loss is the share of packets that are lost or come too late to
// be heard, from 0 to 1. burst tells how loss comes in bursts: it is the mean length of
// the bursts over the mean length of those of independent losses, and 1 if losses are
// independent. The rating is 0 at least, and 93.2 at best. Above 80 people are
// satisfied, and below 50 nearly all are dissatisfied (ITU-T G.109). A value out of
// range counts as the nearest one within.
func Rating(delay time.Duration, loss, burst float64) float64 {
	if !(loss > 0) {
		loss = 0
	}
	if !(burst > 1) {
		burst = 1
	}
	percent := 100 * min(loss, 1)
	lost := ie + (impairAll-ie)*percent/(percent/burst+bpl)
	return max(0, ro-is-delayed(max(0, delay))-lost)
}

// delayed returns the impairment Id: that by the talker's echo, by the listener's echo,
// and by a delay that is too long even without echo.
func delayed(delay time.Duration) float64 {
	t := delay.Seconds() * 1000
	terv := telr - 40*math.Log10((1+t/10)/(1+t/150)) + 6*math.Exp(-0.3*t*t)
	re := 80 + 2.5*(terv-14)
	talker := ((roe-re)/2 + math.Sqrt((roe-re)*(roe-re)/4+100) - 1) * (1 - math.Exp(-t))
	rle := 10.5 * (wepl + 7) * math.Pow(2*t+1, -0.25)
	listener := (ro-rle)/2 + math.Sqrt((ro-rle)*(ro-rle)/4+169)
	long := 0.0
	if t > 100 {
		x := math.Log2(t / 100)
		long = 25 * (math.Pow(1+math.Pow(x, 6), 1./6) - 3*math.Pow(1+math.Pow(x/3, 6), 1./6) + 2)
	}
	return talker + listener + long
}

// MOS returns the mean opinion score that belongs to a rating: 1 is bad, 4.5 is the best
// (ITU-T G.107, annex B).
func MOS(rating float64) float64 {
	switch {
	case !(rating > 0):
		return 1
	case rating > 100:
		return 4.5
	}
	return max(1, 1+0.035*rating+rating*(rating-60)*(100-rating)*7e-6)
}
