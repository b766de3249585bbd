package wire

import (
	"fmt"
	"strings"
)

var tagNames = map[Tag]string{
	TagEOF:              "eof",
	TagAction:           "action",
	TagSocketFile:       "socketset_file",
	TagCalls:            "calls_performed",
	TagContextID:        "ctxid",
	TagInode:            "ctxino",
	TagFD:               "sockfd",
	TagDomain:           "domain",
	TagType:             "type",
	TagProtocol:         "protocol",
	TagBindRequested:    "bind_sa_req",
	TagBindSuggested:    "bind_sa_res",
	TagHostname:         "remote_hostname",
	TagService:          "remote_service",
	TagHint:             "remote_addrinfo_hint",
	TagResult:           "remote_addrinfo_res",
	TagRemote:           "remote_sa",
	TagOptionsCurrent:   "sockopts_current",
	TagOptionsSuggested: "sockopts_suggested",
	TagFeatures:         "features",
	TagWideIntents:      "wide_intents",
	TagNoResolve:        "no_resolve",
	TagAlternate:        "alternate",
	TagReason:           "reason",
	TagDecisionID:       "decision_id",
	TagOutcome:          "outcome",
	TagPaths:            "paths",
	TagOrigin:           "origin",
	TagPlainDials:       "plain_dials",
	TagOnly:             "only",
	TagSelection:        "selection",
	TagTransfer:         "transfer",
	TagRace:             "race",
	TagCosts:            "costs",
	TagLease:            "lease",
	TagLeased:           "leased",
	TagWatch:            "watch",
	TagNetwork:          "network",
	TagFlow:             "flow",
}

// String gives the name used in doc/protocol.md.
func (t Tag) String() string {
	if s, ok := tagNames[t]; ok {
		return s
	}
	return fmt.Sprintf("tag(%#x)", uint32(t))
}

var actionNames = map[Action]string{
	ActionConnectRequest:        "connect_req",
	ActionConnectResponse:       "connect_resp",
	ActionResolveRequest:        "resolve_req",
	ActionResolveResponse:       "resolve_resp",
	ActionSocketConnectRequest:  "socketconnect_req",
	ActionSocketConnectResponse: "socketconnect_resp",
	ActionSocketConnectFallback: "socketconnect_fallback",
	ActionSocketChooseRequest:   "socketchoose_req",
	ActionSocketChooseExisting:  "socketchoose_resp_existing",
	ActionSocketChooseNew:       "socketchoose_resp_new",
	ActionErrorUnknownRequest:   "error_unknown_request",
	ActionErrorResolve:          "error_resolve",
	ActionReportRequest:         "report_req",
	ActionReportResponse:        "report_resp",
	ActionNetworksRequest:       "networks_req",
	ActionNetworksResponse:      "networks_resp",
}

// String gives the name used in doc/protocol.md, shortened if it repeats itself.
func (a Action) String() string {
	if s, ok := actionNames[a]; ok {
		return s
	}
	return fmt.Sprintf("action(%d)", int32(a))
}

// String lists the bits by name, for instance "socket+connect".
func (c Calls) String() string {
	return bits(uint32(c), "socket", "", "getaddrinfo", "bind", "connect", "close")
}

// String lists the bits by name, for instance "alternates+reason".
func (f Features) String() string {
	return bits(uint32(f), "alternates", "reason", "reports", "wide_intents", "no_resolve", "paths", "origin", "plain_dials", "only", "selection", "costs", "leases", "networks", "flows", "transfers")
}

// String lists the bits by name: "these", "these+none".
func (o Only) String() string { return bits(uint32(o), "these", "none", "selected") }

// String gives the words of the preference: "require network home", "avoid cost metered".
func (p Preference) String() string { return p.Want.String() + " " + p.Kind.String() + " " + p.Name }

// SelectionText lists preferences: "require network home, avoid cost metered".
func SelectionText(list []Preference) string {
	words := make([]string, len(list))
	for i := range list {
		words[i] = list[i].String()
	}
	return strings.Join(words, ", ")
}

// String gives the kind's word: "interface", "network", "cost".
func (k PreferenceKind) String() string {
	switch k {
	case ByInterface:
		return "interface"
	case ByNetwork:
		return "network"
	case ByCost:
		return "cost"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// String gives the word of RFC 9622 in lower case.
func (w Want) String() string {
	switch w {
	case WantProhibit:
		return "prohibit"
	case WantAvoid:
		return "avoid"
	case WantPrefer:
		return "prefer"
	case WantRequire:
		return "require"
	}
	return fmt.Sprintf("want(%d)", int8(w))
}

func bits(mask uint32, names ...string) string {
	if mask == 0 {
		return "none"
	}
	var words []string
	for i, name := range names {
		if bit := uint32(1) << i; mask&bit != 0 && name != "" {
			words = append(words, name)
			mask &^= bit
		}
	}
	if mask != 0 {
		words = append(words, fmt.Sprintf("%#x", mask))
	}
	return strings.Join(words, "+")
}
