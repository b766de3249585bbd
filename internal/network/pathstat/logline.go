package pathstat

import (
	"strconv"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// missing is the text for an unknown value.
const missing = "NA"

// csv builds a line of a log.
type csv struct{ line []byte }

func (c *csv) sep() {
	if len(c.line) > 0 {
		c.line = append(c.line, ',')
	}
}

func (c *csv) text(s string) {
	c.sep()
	c.line = append(c.line, s...)
}

func (c *csv) fixed(v float64, decimals int) {
	c.sep()
	c.line = strconv.AppendFloat(c.line, v, 'f', decimals, 64)
}

func (c *csv) integer(v uint64) {
	c.sep()
	c.line = strconv.AppendUint(c.line, v, 10)
}

func (c *csv) missing(n int) {
	for range n {
		c.text(missing)
	}
}

// time writes seconds, a dot and six digits.
func (c *csv) time(t time.Time) {
	c.sep()
	c.line = strconv.AppendInt(c.line, t.Unix(), 10)
	c.line = append(c.line, '.')
	us := strconv.Itoa(1_000_000 + t.Nanosecond()/1000)
	c.line = append(c.line, us[1:]...)
}

func (c *csv) millis(d time.Duration) {
	c.fixed(float64(d)/float64(time.Millisecond), 6)
}

func (c *csv) rates(rates ...policy.BytesPerSecond) {
	for _, r := range rates {
		c.fixed(float64(r), 6)
	}
}

// prefixLines passes the lines of doc/original/measurement.md 8.1 to write, one by one.
// It returns the buffer for the next call.
func prefixLines(s *Snapshot, buf []byte, write func([]byte)) []byte {
	for i := range s.Prefixes {
		p := &s.Prefixes[i]
		stats, ok := s.Paths[p.ID]
		if p.Loopback || len(p.Addrs) == 0 {
			continue
		}
		c := csv{buf[:0]}
		if ok {
			c.time(stats.Time)
		} else {
			c.time(s.Time)
		}
		c.text(p.Addrs[0].String())
		c.text(p.ID.Interface)
		if ok {
			prefixFigures(&c, &stats)
		} else {
			c.missing(8)
		}
		buf = append(c.line, '\n')
		write(buf)
	}
	return buf
}

func prefixFigures(c *csv, s *policy.PathStats) {
	c.millis(s.SRTTMean)
	c.fixed(s.SRTTVariance, 6)
	c.millis(s.SRTTMedian)
	if s.SRTTMin > 0 {
		c.millis(s.SRTTMin)
	} else {
		c.missing(1)
	}
	c.millis(s.RTTVarMedian)
	c.millis(s.RTTVarMean)
	c.fixed(s.LossUp, 6)
	c.integer(uint64(max(0, s.Conns)))
}

// interfaceLines passes the lines of doc/original/measurement.md 8.2 to write, one by
// one. It returns the buffer for the next call.
func interfaceLines(s *Snapshot, buf []byte, write func([]byte)) []byte {
	done := map[string]bool{}
	for i := range s.Prefixes {
		p := &s.Prefixes[i]
		name := p.ID.Interface
		if p.Loopback || done[name] {
			continue
		}
		done[name] = true
		stats, ok := s.Links[name]
		c := csv{buf[:0]}
		if ok {
			c.time(stats.Time)
		} else {
			c.time(s.Time)
		}
		c.text(name)
		if ok {
			linkFigures(&c, &stats)
		} else {
			c.missing(17)
		}
		wifiFigures(&c, s.Wifi[name])
		buf = append(c.line, '\n')
		write(buf)
	}
	return buf
}

// linkFigures writes columns 3 to 19. A direction has no rates until its counter has
// moved (doc/original/measurement.md 5).
func linkFigures(c *csv, s *policy.LinkStats) {
	if s.DownBytes > 0 {
		c.rates(s.DownRate, s.DownRateMax,
			s.DownSMAMax.Long, s.DownSMAMax.Mid, s.DownSMAMax.Short,
			s.DownSMAMin.Long, s.DownSMAMin.Mid, s.DownSMAMin.Short,
			s.DownSMAQuantile.Long, s.DownSMAQuantile.Mid, s.DownSMAQuantile.Short)
	} else {
		c.missing(11)
	}
	if s.UpBytes > 0 {
		c.rates(s.UpRate, s.UpRateMax)
		c.integer(s.UpBytes)
	} else {
		c.missing(3)
	}
	if s.DownBytes > 0 {
		c.integer(s.DownBytes)
	} else {
		c.missing(1)
	}
	c.integer(s.RxErrors)
	c.integer(s.TxErrors)
}

// wifiFigures writes columns 20 to 27. Column 21, the access point's own account of the
// signal strength, was never measured (M19).
func wifiFigures(c *csv, w *policy.WifiStats) {
	if w == nil {
		c.missing(8)
		return
	}
	signal := func(dBm int8) {
		if dBm == 0 {
			c.missing(1)
		} else {
			c.fixed(float64(dBm), 2)
		}
	}
	rate := func(r policy.BytesPerSecond) {
		if r == 0 {
			c.missing(1)
		} else {
			c.fixed(r.Mbps(), 2)
		}
	}
	signal(w.Signal)
	c.missing(1)
	signal(w.SignalAvg)
	rate(w.TxRate)
	rate(w.RxRate)
	if !w.BSSLoad {
		c.missing(3)
		return
	}
	c.integer(uint64(w.Stations))
	c.fixed(w.ChannelUtilization, 2)
	c.integer(uint64(w.AvailableAdmissionCapacity))
}
