package wire

import (
	"bytes"

	"github.com/google/uuid"
)

// extension decodes the TLVs that the original does not have; the package comment gives
// their layouts. It ignores unknown tags.
func (d *decoder) extension(tag Tag, v []byte) error {
	if known, err := d.wish(tag, v); known {
		return err
	}
	if known, err := d.verdict(tag, v); known {
		return err
	}
	_, err := d.account(tag, v)
	return err
}

// wish decodes what a client says of itself and of what it wants.
func (d *decoder) wish(tag Tag, v []byte) (known bool, err error) {
	m := d.m
	switch tag {
	case TagFeatures:
		if len(v) < 4 {
			return true, errLength
		}
		m.Features = Features(le.Uint32(v))
	case TagWideIntents:
		m.WideIntents, err = records(m.WideIntents[:0], v, wideSize, func(v []byte) WideIntent {
			return WideIntent{le.Uint32(v), int64(le.Uint64(v[4:]))}
		})
	case TagNoResolve:
		m.NoResolve = true
	case TagOrigin:
		m.Origin, err = decodeOrigin(v)
	case TagSelection:
		if m.Selection, err = decodeSelection(m.Selection[:0], v); err != nil {
			m.Selection = m.Selection[:0]
		}
	case TagWatch:
		m.Watch, err = decodeWatch(v)
	default:
		return false, nil
	}
	return true, err
}

// verdict decodes what the daemon answers.
func (d *decoder) verdict(tag Tag, v []byte) (known bool, err error) {
	m := d.m
	switch tag {
	case TagAlternate:
		m.Alternates = grow(m.Alternates)
		if err = decodeAlternate(v, &m.Alternates[len(m.Alternates)-1]); err != nil {
			m.Alternates = m.Alternates[:len(m.Alternates)-1]
		}
	case TagReason:
		m.Reason, err = decodeString(v, d.reason)
	case TagDecisionID:
		if len(v) < len(uuid.UUID{}) {
			return true, errLength
		}
		m.DecisionID = uuid.UUID(v[:16])
	case TagPaths:
		m.Paths, err = records(m.Paths[:0], v, pathSize, func(v []byte) Path { return Path{le.Uint32(v), le.Uint32(v[4:])} })
	case TagCosts:
		m.Costs, err = records(m.Costs[:0], v, costSize, func(v []byte) Cost { return Cost{le.Uint32(v), le.Uint64(v[4:])} })
	case TagOnly:
		if len(v) < 4 {
			return true, errLength
		}
		m.Only = Only(le.Uint32(v))
	case TagRace:
		m.Race = true
	case TagLease:
		m.Lease, err = decodeLease(v)
	case TagNetwork:
		m.Networks = grow(m.Networks)
		if err = decodeNetwork(v, &m.Networks[len(m.Networks)-1]); err != nil {
			m.Networks = m.Networks[:len(m.Networks)-1]
		}
	default:
		return false, nil
	}
	return true, err
}

// account decodes what a client reports of its connections.
func (d *decoder) account(tag Tag, v []byte) (known bool, err error) {
	m := d.m
	switch tag {
	case TagOutcome:
		if len(v) < outcomeSize {
			return true, errLength
		}
		m.Outcome = &Outcome{
			Candidate: int32(le.Uint32(v)), Milliseconds: le.Uint32(v[4:]), Errno: int32(le.Uint32(v[8:])), LocalPort: le.Uint16(v[12:]),
		}
		if len(v) >= outcomeSize+2 { // older peers send no flags
			m.Outcome.Flags = OutcomeFlags(le.Uint16(v[outcomeSize:]))
		}
	case TagPlainDials:
		if len(v) < plainDialsSize {
			return true, errLength
		}
		m.PlainDials = &PlainDials{Late: le.Uint32(v), LeftAlone: le.Uint32(v[4:]), Absent: le.Uint32(v[8:]), Failed: le.Uint32(v[12:])}
	case TagLeased:
		m.Leased, err = records(m.Leased[:0], v, leaseUseSize, func(v []byte) LeaseUse {
			return LeaseUse{uuid.UUID(v[:16]), le.Uint32(v[16:]), le.Uint32(v[20:]), le.Uint32(v[24:])}
		})
	case TagFlow:
		m.Flow, err = decodeFlow(v)
	case TagTransfer:
		if len(v) < transferSize {
			return true, errLength
		}
		m.Transfer = &Transfer{
			Candidate: int32(le.Uint32(v)), Flags: TransferFlags(le.Uint32(v[4:])), Bytes: le.Uint64(v[8:]),
			Microseconds: le.Uint32(v[16:]), Connect: le.Uint32(v[20:]), RTT: le.Uint32(v[24:]), MinRTT: le.Uint32(v[28:]),
		}
	default:
		return false, nil
	}
	return true, err
}

// records appends to list the entries of size bytes each that v consists of. If v is
// not a whole number of them, list is returned as it was.
func records[T any](list []T, v []byte, size int, decode func([]byte) T) ([]T, error) {
	if len(v)%size != 0 {
		return list, errLength
	}
	for ; len(v) > 0; v = v[size:] {
		list = append(list, decode(v))
	}
	return list, nil
}

// decodeSelection appends the preferences to list. It keeps unknown kinds and wants,
// because the reader must decide about them.
func decodeSelection(list []Preference, v []byte) ([]Preference, error) {
	for len(v) > 0 {
		if len(v) < preferenceSize {
			return list, errLength
		}
		p, n := Preference{Kind: PreferenceKind(v[0]), Want: Want(v[1])}, int(le.Uint16(v[2:]))
		v = v[preferenceSize:]
		switch {
		case n > len(v):
			return list, errTruncated
		case n > MaxPreferenceName, len(list) == MaxPreferences:
			return list, errSelection
		}
		p.Name, v = string(v[:n]), v[n:]
		list = append(list, p)
	}
	return list, nil
}

func decodeLease(v []byte) (*Lease, error) {
	if len(v) < leaseSize {
		return nil, errLength
	}
	l := &Lease{
		Milliseconds: le.Uint32(v), Uses: le.Uint32(v[4:]), Bytes: le.Uint64(v[8:]),
		Flags: LeaseFlags(le.Uint32(v[16:])), Ignored: le.Uint32(v[20:]),
		SizeFrom: int64(le.Uint64(v[24:])), SizeTo: int64(le.Uint64(v[32:])),
		View: le.Uint64(v[40:]), Measurements: le.Uint64(v[48:]),
	}
	n := int(le.Uint32(v[56:]))
	v = v[leaseSize:]
	if n > len(v)/generationSize {
		return nil, errTruncated
	}
	for range n {
		l.Networks = append(l.Networks, Generation{le.Uint32(v), le.Uint64(v[4:])})
		v = v[generationSize:]
	}
	return l, nil
}

func decodeOrigin(v []byte) (*Origin, error) {
	if len(v) < originSize {
		return nil, errLength
	}
	command := int(le.Uint16(v[8:]))
	o := &Origin{UID: le.Uint32(v), PID: le.Uint32(v[4:])}
	v = v[originSize:]
	switch {
	case command > len(v):
		return nil, errTruncated
	case command > maxOriginText, len(v)-command > maxOriginText:
		return nil, errOrigin
	}
	o.Command, o.Source = string(v[:command]), string(v[command:])
	return o, nil
}

func decodeAlternate(v []byte, a *Alternate) (err error) {
	if len(v) < alternateSize {
		return errLength
	}
	device := a.Device
	*a = Alternate{Protocol: int32(le.Uint32(v)), Remotes: a.Remotes[:0]}
	localLen, deviceLen, remotes := int(le.Uint16(v[4:])), int(le.Uint16(v[6:])), int(le.Uint16(v[8:]))
	v = v[alternateSize:]
	if localLen+deviceLen > len(v) {
		return errTruncated
	}
	if deviceLen > maxDevice {
		return errDevice
	}
	if localLen > 0 {
		if a.Local, err = decodeSockAddr(v[:localLen]); err != nil {
			return err
		}
		v = v[localLen:]
	}
	if name := v[:deviceLen]; string(name) == device {
		a.Device = device
	} else if bytes.IndexByte(name, 0) >= 0 {
		return errNUL
	} else {
		a.Device = string(name)
	}
	v = v[deviceLen:]
	for range remotes {
		r, err := decodeSockAddr(v)
		if err != nil {
			return err
		}
		a.Remotes = append(a.Remotes, r)
		v = v[r.size():]
	}
	return nil
}
