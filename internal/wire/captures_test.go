package wire

import (
	"math"
	"net/netip"

	"github.com/google/uuid"
)

func id(s string) uuid.UUID { return uuid.MustParse(s) }

func sa(s string) SockAddr { return SockAddr{AddrPort: netip.MustParseAddrPort(s)} }

// opt makes a socket option with an int value.
func opt(level, name int32, value uint32) SockOpt {
	return SockOpt{Level: level, Name: name, Value: le.AppendUint32(nil, value)}
}

func hint(family int32) []AddrInfo { return []AddrInfo{{Family: family, Type: SockStream}} }

// resolved makes a list as the original daemon's resolver does, with a flag of libevent's
// own.
func resolved(addrs ...string) []AddrInfo {
	var list []AddrInfo
	for _, a := range addrs {
		ai := AddrInfo{Flags: math.MinInt32, Family: AFInet, Type: SockStream, Protocol: ProtoTCP, Addr: sa(a)}
		if ai.Addr.AddrPort.Addr().Is6() {
			ai.Family = AFInet6
		}
		list = append(list, ai)
	}
	return list
}

// captures has the content of the well-formed files of testdata/captures, by file name.
// testdata/captures/README.md says how each file was made.
var captures = map[string]Message{
	"canonname-req": {
		Action: ActionResolveRequest, HasAction: true,
		Context: Context{
			Calls: CallGetaddrinfo, Hostname: "alias.test", Service: "80",
			Hint: []AddrInfo{{Flags: 2, Family: AFInet, Type: SockStream}},
		},
	},
	"choose2-1-socketconnect-req": {
		Action: ActionSocketConnectRequest, HasAction: true,
		Context: Context{
			Domain: AFInet, Type: SockStream, Hostname: "10.77.1.2", Service: "80", Hint: hint(AFInet),
			OptionsCurrent: []SockOpt{opt(300, 1, 4)},
		},
	},
	"choose2-2-socketconnect-resp": {
		Action: ActionSocketConnectResponse, HasAction: true,
		Context: Context{
			ID: id("012ba5de-81ea-4767-b2e2-deb1d9ca949b"), Domain: AFInet, Type: SockStream, Protocol: ProtoTCP,
			BindSuggested: sa("10.77.1.1:0"), Remote: sa("10.77.1.2:80"), Hostname: "10.77.1.2", Service: "80",
			Hint: hint(AFInet), Result: resolved("10.77.1.2:80"), OptionsCurrent: []SockOpt{opt(300, 1, 4)},
		},
	},
	"choose2-3-socketchoose-noidle-req": {
		Action: ActionSocketChooseRequest, HasAction: true,
		Context: Context{
			Domain: AFInet, Type: SockStream, Hostname: "10.77.1.2", Service: "80", Hint: hint(AFInet),
			OptionsCurrent: []SockOpt{opt(300, 1, 4)},
		},
	},
	"choose2-4-socketchoose-new-resp": {
		Action: ActionSocketChooseNew, HasAction: true,
		Context: Context{
			ID: id("4241f0bf-078c-41b3-bf86-f22450fdc7a9"), Domain: AFInet, Type: SockStream, Protocol: ProtoTCP,
			BindSuggested: sa("10.77.1.1:0"), Remote: sa("10.77.1.2:80"), Hostname: "10.77.1.2", Service: "80",
			Hint: hint(AFInet), Result: resolved("10.77.1.2:80"), OptionsCurrent: []SockOpt{opt(300, 1, 4)},
		},
	},
	"choose2-5-socketchoose-twoidle-req": {
		Action: ActionSocketChooseRequest, HasAction: true,
		Context: Context{
			Domain: AFInet, Type: SockStream, Hostname: "10.77.1.2", Service: "80", Hint: hint(AFInet),
			OptionsCurrent: []SockOpt{opt(300, 1, 4)},
		},
		Sockets: []SetMember{
			{FD: 4, Context: Context{
				ID: id("012ba5de-81ea-4767-b2e2-deb1d9ca949b"), Domain: AFInet, Type: SockStream, Protocol: ProtoTCP,
				BindSuggested: sa("10.77.1.1:0"), Remote: sa("10.77.1.2:80"), Hostname: "10.77.1.2", Service: "80",
				Hint: hint(AFInet), Result: resolved("10.77.1.2:80"), OptionsCurrent: []SockOpt{opt(300, 1, 4)},
			}},
			{FD: 5, Context: Context{
				ID: id("4241f0bf-078c-41b3-bf86-f22450fdc7a9"), Domain: AFInet, Type: SockStream, Protocol: ProtoTCP,
				BindSuggested: sa("10.77.1.1:0"), Remote: sa("10.77.1.2:80"), Hostname: "10.77.1.2", Service: "80",
				Hint: hint(AFInet), Result: resolved("10.77.1.2:80"), OptionsCurrent: []SockOpt{opt(300, 1, 4)},
			}},
		},
	},
	"choose2-6-socketchoose-existing-resp": {
		Action: ActionSocketChooseExisting, HasAction: true,
		Context: Context{
			ID: id("d50f10b9-372a-45c5-bc76-2ececc3bf775"), Domain: AFInet, Type: SockStream, Protocol: ProtoTCP,
			BindSuggested: sa("10.77.1.1:0"), Remote: sa("10.77.1.2:80"), Hostname: "10.77.1.2", Service: "80",
			Hint: hint(AFInet), Result: resolved("10.77.1.2:80"), OptionsCurrent: []SockOpt{opt(300, 1, 4)},
		},
		Sockets: []SetMember{
			{FD: 4},
		},
	},
	"connect-v4-bound-req": {
		Action: ActionConnectRequest, HasAction: true,
		Context: Context{
			Inode: 50370, FD: 3, Calls: CallSocket | CallBind | CallConnect, Domain: AFInet, Type: SockStream,
			BindRequested: sa("10.77.2.1:0"), Remote: sa("10.77.1.2:8080"),
			OptionsCurrent: []SockOpt{opt(6, 1, 1)},
		},
	},
	"connect-v4-bound-resp": {
		Action: ActionConnectResponse, HasAction: true,
		Context: Context{
			ID: id("c49fe4c8-e466-48ca-b9d9-89d89be51096"), Inode: 50370, FD: 3,
			Calls: CallSocket | CallBind | CallConnect, Domain: AFInet, Type: SockStream,
			BindRequested: sa("10.77.2.1:0"), Remote: sa("10.77.1.2:8080"),
			OptionsCurrent: []SockOpt{opt(6, 1, 1)},
		},
	},
	"connect-v4-req": {
		Action: ActionConnectRequest, HasAction: true,
		Context: Context{
			Inode: 43967, FD: 3, Calls: CallSocket | CallConnect, Domain: AFInet, Type: SockStream,
			Remote: sa("10.77.1.2:8080"), OptionsCurrent: []SockOpt{opt(6, 1, 1)},
		},
	},
	"connect-v4-resp": {
		Action: ActionConnectResponse, HasAction: true,
		Context: Context{
			ID: id("fa36ed59-4398-4fc8-8080-711c1d70fb5a"), Inode: 43967, FD: 3, Calls: CallSocket | CallConnect,
			Domain: AFInet, Type: SockStream, BindSuggested: sa("10.77.1.1:0"), Remote: sa("10.77.1.2:8080"),
			OptionsCurrent: []SockOpt{opt(6, 1, 1)},
		},
	},
	"connect-v6-req": {
		Action: ActionConnectRequest, HasAction: true,
		Context: Context{
			Inode: 50228, FD: 3, Calls: CallSocket | CallConnect, Domain: AFInet6, Type: SockStream,
			Remote: sa("[fd77:1::2]:8080"), OptionsCurrent: []SockOpt{opt(6, 1, 1)},
		},
	},
	"connect-v6-resp": {
		Action: ActionConnectResponse, HasAction: true,
		Context: Context{
			ID: id("5dba6f36-5441-44b5-874f-cfc3182a9e88"), Inode: 50228, FD: 3, Calls: CallSocket | CallConnect,
			Domain: AFInet6, Type: SockStream, BindSuggested: sa("[fd77:1::1]:0"), Remote: sa("[fd77:1::2]:8080"),
			OptionsCurrent: []SockOpt{opt(6, 1, 1)},
		},
	},
	"crafted-action6-req": {
		Action: ActionSocketConnectFallback, HasAction: true,
		Context: Context{
			Domain: AFInet, Type: SockStream, Hostname: "10.77.1.2", Service: "8080",
		},
	},
	"crafted-action6-resp": {
		Action: ActionResolveResponse, HasAction: true,
		Context: Context{
			ID: id("d42c613a-b052-499a-8801-9d1abbbaf30a"), Domain: AFInet, Type: SockStream, Protocol: ProtoTCP,
			Remote: sa("10.77.1.2:8080"), Hostname: "10.77.1.2", Service: "8080", Hint: hint(AFInet),
			Result: resolved("10.77.1.2:8080"),
		},
	},
	"crafted-choose-fail-req": {
		Action: ActionSocketChooseRequest, HasAction: true,
		Context: Context{
			Domain: AFInet, Type: SockStream, Hostname: "nope.test", Service: "8080",
		},
	},
	"crafted-choose-fail-resp": {
		Action: ActionErrorResolve, HasAction: true,
		Context: Context{
			ID: id("32172e5c-15ac-4910-9fcc-d8e3c47d45ec"), Domain: AFInet, Type: SockStream,
			BindSuggested: sa("10.77.1.1:0"), Hostname: "nope.test", Service: "8080", Hint: hint(AFInet),
		},
	},
	"crafted-eof-only-req": {
		Action: ActionConnectRequest, HasAction: false,
		Context: Context{},
	},
	"crafted-eof-only-resp": {
		Action: ActionConnectResponse, HasAction: true,
		Context: Context{
			ID: id("08a0263f-62d7-4047-8db4-aee5703255eb"), Domain: AFInet, BindSuggested: sa("10.77.1.1:0"),
		},
	},
	"crafted-unknown-action-req": {
		Action: 99, HasAction: true,
		Context: Context{
			Domain: AFInet, Type: SockStream, Hostname: "10.77.1.2", Service: "8080",
		},
	},
	"crafted-unknown-action-resp": {
		Action: ActionErrorUnknownRequest, HasAction: true,
		Context: Context{
			ID: id("e7645cc6-1763-43a1-bd5d-bf4c1e212dc5"), Domain: AFInet, Type: SockStream,
			Hostname: "10.77.1.2", Service: "8080",
		},
	},
	"fallback-noresolve-req": {
		Action: ActionSocketConnectRequest, HasAction: true,
		Context: Context{
			Domain: AFInet, Type: SockStream, Hostname: "10.77.1.2", Service: "8080", Hint: hint(AFInet),
		},
	},
	"fallback-noresolve-resp": {
		Action: ActionConnectResponse, HasAction: true,
		Context: Context{
			ID: id("483306a5-2fb5-4e3c-af81-a196fa8ed0fa"), Domain: AFInet, Type: SockStream,
			BindSuggested: sa("10.77.1.1:0"), Hostname: "10.77.1.2", Service: "8080", Hint: hint(AFInet),
		},
	},
	"fallback-resolve-req": {
		Action: ActionSocketConnectRequest, HasAction: true,
		Context: Context{
			Domain: AFInet, Type: SockStream, Hostname: "host.test", Service: "80", Hint: hint(AFInet),
		},
	},
	"fallback-resolve-resp": {
		Action: ActionConnectResponse, HasAction: true,
		Context: Context{
			ID: id("625da182-2f78-42da-a534-1edc72d0fb0e"), Domain: AFInet, Type: SockStream, Protocol: ProtoTCP,
			BindSuggested: sa("10.77.1.1:0"), Remote: sa("10.77.1.2:80"), Hostname: "host.test", Service: "80",
			Hint: hint(AFInet), Result: resolved("10.77.1.2:80"),
		},
	},
	"nopolicy-connect-req": {
		Action: ActionConnectRequest, HasAction: true,
		Context: Context{
			Inode: 67662, FD: 3, Calls: CallSocket | CallConnect, Domain: AFInet, Type: SockStream,
			Remote: sa("10.77.1.2:8080"), OptionsCurrent: []SockOpt{opt(6, 1, 1)},
		},
	},
	"nopolicy-connect-resp": {
		Action: ActionConnectResponse, HasAction: true,
		Context: Context{
			ID: id("657b3908-9252-401c-8de0-ace149d5e7af"), Inode: 67662, FD: 3, Calls: CallSocket | CallConnect,
			Domain: AFInet, Type: SockStream, Remote: sa("10.77.1.2:8080"),
			OptionsCurrent: []SockOpt{opt(6, 1, 1)},
		},
	},
	"nopolicy-socketconnect-req": {
		Action: ActionSocketConnectRequest, HasAction: true,
		Context: Context{
			Domain: AFInet, Type: SockStream, Hostname: "10.77.1.2", Service: "8080", Hint: hint(AFInet),
		},
	},
	"nopolicy-socketconnect-resp": {
		Action: ActionSocketConnectResponse, HasAction: true,
		Context: Context{
			ID: id("218ed5ff-1e64-4965-bbda-5a027e870051"), Domain: AFInet, Type: SockStream,
			Hostname: "10.77.1.2", Service: "8080", Hint: hint(AFInet),
		},
	},
	"resolve-connect-v4-1": {
		Action: ActionResolveRequest, HasAction: true,
		Context: Context{
			Calls: CallGetaddrinfo, Hostname: "host.test", Service: "80", Hint: hint(AFInet),
			OptionsCurrent: []SockOpt{opt(300, 1, 1), opt(300, 2, 1048576)},
		},
	},
	"resolve-connect-v4-2": {
		Action: ActionResolveResponse, HasAction: true,
		Context: Context{
			ID: id("ed37e723-7f98-4b25-8781-bbe1c5f19735"), Calls: CallGetaddrinfo, Domain: AFInet,
			Type: SockStream, Protocol: ProtoTCP, Remote: sa("10.77.1.2:80"), Hostname: "host.test",
			Service: "80", Hint: hint(AFUnspec), Result: resolved("10.77.1.2:80", "[fd77:1::2]:80"),
			OptionsCurrent: []SockOpt{opt(300, 1, 1), opt(300, 2, 1048576)},
		},
	},
	"resolve-connect-v4-3": {
		Action: ActionConnectRequest, HasAction: true,
		Context: Context{
			ID: id("ed37e723-7f98-4b25-8781-bbe1c5f19735"), Inode: 52236, FD: 4,
			Calls: CallSocket | CallGetaddrinfo | CallConnect, Domain: AFInet, Type: SockStream,
			Protocol: ProtoTCP, Remote: sa("10.77.1.2:80"), Hostname: "host.test", Service: "80",
			Hint: hint(AFUnspec), Result: resolved("10.77.1.2:80", "[fd77:1::2]:80"),
			OptionsCurrent: []SockOpt{opt(300, 1, 1), opt(300, 2, 1048576)},
		},
	},
	"resolve-connect-v4-4": {
		Action: ActionConnectResponse, HasAction: true,
		Context: Context{
			ID: id("ed37e723-7f98-4b25-8781-bbe1c5f19735"), Inode: 52236, FD: 4,
			Calls: CallSocket | CallGetaddrinfo | CallConnect, Domain: AFInet, Type: SockStream,
			Protocol: ProtoTCP, BindSuggested: sa("10.77.1.1:0"), Remote: sa("10.77.1.2:80"),
			Hostname: "host.test", Service: "80", Hint: hint(AFUnspec),
			Result:         resolved("10.77.1.2:80", "[fd77:1::2]:80"),
			OptionsCurrent: []SockOpt{opt(300, 1, 1), opt(300, 2, 1048576)},
		},
	},
	"resolve-connect-v6-1": {
		Action: ActionResolveRequest, HasAction: true,
		Context: Context{
			Calls: CallGetaddrinfo, Hostname: "six.test", Service: "80", Hint: hint(AFInet6),
			OptionsCurrent: []SockOpt{opt(300, 1, 1), opt(300, 2, 1048576)},
		},
	},
	"resolve-connect-v6-2": {
		Action: ActionResolveResponse, HasAction: true,
		Context: Context{
			ID: id("087d285d-46a4-44a5-be51-d8ddd144e3f4"), Calls: CallGetaddrinfo, Domain: AFInet6,
			Type: SockStream, Protocol: ProtoTCP, Remote: sa("[fd77:1::2]:80"), Hostname: "six.test",
			Service: "80", Hint: hint(AFUnspec), Result: resolved("[fd77:1::2]:80"),
			OptionsCurrent: []SockOpt{opt(300, 1, 1), opt(300, 2, 1048576)},
		},
	},
	"resolve-connect-v6-3": {
		Action: ActionConnectRequest, HasAction: true,
		Context: Context{
			ID: id("087d285d-46a4-44a5-be51-d8ddd144e3f4"), Inode: 52377, FD: 4,
			Calls: CallSocket | CallGetaddrinfo | CallConnect, Domain: AFInet6, Type: SockStream,
			Protocol: ProtoTCP, Remote: sa("[fd77:1::2]:80"), Hostname: "six.test", Service: "80",
			Hint: hint(AFUnspec), Result: resolved("[fd77:1::2]:80"),
			OptionsCurrent: []SockOpt{opt(300, 1, 1), opt(300, 2, 1048576)},
		},
	},
	"resolve-connect-v6-4": {
		Action: ActionConnectResponse, HasAction: true,
		Context: Context{
			ID: id("087d285d-46a4-44a5-be51-d8ddd144e3f4"), Inode: 52377, FD: 4,
			Calls: CallSocket | CallGetaddrinfo | CallConnect, Domain: AFInet6, Type: SockStream,
			Protocol: ProtoTCP, BindSuggested: sa("[fd77:1::1]:0"), Remote: sa("[fd77:1::2]:80"),
			Hostname: "six.test", Service: "80", Hint: hint(AFUnspec), Result: resolved("[fd77:1::2]:80"),
			OptionsCurrent: []SockOpt{opt(300, 1, 1), opt(300, 2, 1048576)},
		},
	},
	"resolve-fail-req": {
		Action: ActionResolveRequest, HasAction: true,
		Context: Context{
			Calls: CallGetaddrinfo, Hostname: "nope.test", Service: "80", Hint: hint(AFInet),
		},
	},
	"resolve-fail-resp": {
		Action: ActionErrorResolve, HasAction: true,
		Context: Context{
			ID: id("9412380e-b4b3-46c1-bc2c-f07a54b8e5a5"), Calls: CallGetaddrinfo, Hostname: "nope.test",
			Service: "80", Hint: hint(AFUnspec),
		},
	},
	"resolve-multi-req": {
		Action: ActionResolveRequest, HasAction: true,
		Context: Context{
			Calls: CallGetaddrinfo, Hostname: "multi.test", Service: "80", Hint: hint(AFInet),
		},
	},
	"resolve-multi-resp": {
		Action: ActionResolveResponse, HasAction: true,
		Context: Context{
			ID: id("f559bcaa-a2cb-4a31-81dc-7050d29bbf27"), Calls: CallGetaddrinfo, Domain: AFInet,
			Type: SockStream, Protocol: ProtoTCP, Remote: sa("10.77.1.2:80"), Hostname: "multi.test",
			Service: "80", Hint: hint(AFUnspec), Result: resolved("10.77.1.2:80", "10.77.2.2:80"),
		},
	},
	"socketchoose-byfd-req": {
		Action: ActionSocketChooseRequest, HasAction: true,
		Context: Context{
			Hostname: "10.77.1.2", Service: "8080", OptionsCurrent: []SockOpt{opt(300, 1, 0), opt(300, 2, 1024)},
		},
		Sockets: []SetMember{
			{FD: 4, Context: Context{
				ID: id("d17e34d8-7a58-4b2c-8701-763385c6f030"), Domain: AFInet, Type: SockStream, Protocol: ProtoTCP,
				BindSuggested: sa("10.77.1.1:0"), Remote: sa("10.77.1.2:8080"), Hostname: "10.77.1.2",
				Service: "8080", Hint: hint(AFInet), Result: resolved("10.77.1.2:8080"),
				OptionsCurrent: []SockOpt{opt(300, 1, 0), opt(300, 2, 1024)},
			}},
		},
	},
	"socketchoose-byfd-resp-existing": {
		Action: ActionSocketChooseExisting, HasAction: true,
		Context: Context{
			ID: id("f042f56a-4819-49f4-b4bc-4aaf8c72b9f4"), Domain: AFInet, Type: SockStream, Protocol: ProtoTCP,
			BindSuggested: sa("10.77.1.1:0"), Remote: sa("10.77.1.2:8080"), Hostname: "10.77.1.2",
			Service: "8080", Hint: hint(AFInet), Result: resolved("10.77.1.2:8080"),
			OptionsCurrent: []SockOpt{opt(300, 1, 0), opt(300, 2, 1024)},
		},
		Sockets: []SetMember{
			{FD: 4},
		},
	},
	"socketconnect-fail-req": {
		Action: ActionSocketConnectRequest, HasAction: true,
		Context: Context{
			Domain: AFInet, Type: SockStream, Hostname: "nope.test", Service: "8080", Hint: hint(AFInet),
		},
	},
	"socketconnect-fail-resp": {
		Action: ActionErrorResolve, HasAction: true,
		Context: Context{
			ID: id("dd3862c3-464a-4f51-b6e2-41718edb6d41"), Domain: AFInet, Type: SockStream,
			BindSuggested: sa("10.77.1.1:0"), Hostname: "nope.test", Service: "8080", Hint: hint(AFInet),
		},
	},
	"socketconnect-v4-intents-req": {
		Action: ActionSocketConnectRequest, HasAction: true,
		Context: Context{
			Type: SockStream, Hostname: "10.77.1.2", Service: "8080", Hint: hint(AFUnspec),
			OptionsCurrent: []SockOpt{opt(300, 1, 0), opt(300, 2, 1024)},
		},
	},
	"socketconnect-v4-intents-resp": {
		Action: ActionSocketConnectResponse, HasAction: true,
		Context: Context{
			ID: id("d17e34d8-7a58-4b2c-8701-763385c6f030"), Domain: AFInet, Type: SockStream, Protocol: ProtoTCP,
			BindSuggested: sa("10.77.1.1:0"), Remote: sa("10.77.1.2:8080"), Hostname: "10.77.1.2",
			Service: "8080", Hint: hint(AFInet), Result: resolved("10.77.1.2:8080"),
			OptionsCurrent: []SockOpt{opt(300, 1, 0), opt(300, 2, 1024)},
		},
	},
	"socketconnect-v6-req": {
		Action: ActionSocketConnectRequest, HasAction: true,
		Context: Context{
			Domain: AFInet6, Type: SockStream, Hostname: "fd77:1::2", Service: "8080", Hint: hint(AFInet6),
		},
	},
	"socketconnect-v6-resp": {
		Action: ActionSocketConnectResponse, HasAction: true,
		Context: Context{
			ID: id("a53fbab3-c946-4cde-a2c2-f2ccdfed69f0"), Domain: AFInet6, Type: SockStream, Protocol: ProtoTCP,
			BindSuggested: sa("[fd77:1::1]:0"), Remote: sa("[fd77:1::2]:8080"), Hostname: "fd77:1::2",
			Service: "8080", Hint: hint(AFInet6), Result: resolved("[fd77:1::2]:8080"),
		},
	},
	"sockopts-suggested-req": {
		Action: ActionSocketConnectRequest, HasAction: true,
		Context: Context{
			Domain: AFInet, Type: SockStream, Hostname: "10.77.1.2", Service: "8080", Hint: hint(AFInet),
		},
	},
	"sockopts-suggested-resp": {
		Action: ActionSocketConnectResponse, HasAction: true,
		Context: Context{
			ID: id("3d07784b-816d-4a8c-9baa-11a9082b182b"), Domain: AFInet, Type: SockStream, Protocol: ProtoTCP,
			Remote: sa("10.77.1.2:8080"), Hostname: "10.77.1.2", Service: "8080", Hint: hint(AFInet),
			Result: resolved("10.77.1.2:8080"), OptionsSuggested: []SockOpt{opt(6, 42, 1)},
		},
	},
}
