package predict

import "github.com/socket-intents/mamma/policy"

// Known returns the value of m for p and whether it is known: configured, or
// measured. Round-trip times and highest rates of 0 are not known; a current
// rate or a number of connections may well be 0.
func (m Metric) Known(p *policy.Prefix) (float64, bool) {
	if len(p.Options) > 0 {
		if v, ok := p.Options.Number(m.String()); ok {
			return v, true
		}
	}
	v := m.measured(p)
	switch m {
	case SRTTVariance, RTTVarMedian, RTTVarMean, LossUp:
		return v, !p.Stats.SampleTime.IsZero()
	case Conns:
		return v, !p.Stats.Time.IsZero()
	case DownBytes, UpBytes, DownRate, UpRate, DownSMA, DownSMAMin, DownSMAMinMid, DownSMAMinLong, RxErrors, TxErrors:
		return v, !p.Link.Time.IsZero()
	case Stations, ChannelUtilization, AdmissionCapacity:
		return v, p.Wifi != nil && p.Wifi.BSSLoad
	case Signal, SignalAvg:
		return v, v != 0
	}
	return v, v > 0
}
