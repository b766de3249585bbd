package hook

import "github.com/cilium/ebpf/asm"

// depth bounds the search for a known group above a control group that is still unknown: so
// many levels below the mount of the control groups. The groups of systemd lie at 2 to 6.
const depth = 12

// caller finds out who calls: user, command and control group. The group is that of the
// thread that calls, not the one in which the socket was made. So a process that was moved, or
// that was handed a socket, is placed by its present group.
func (w *writer) caller() {
	w.add(
		asm.FnGetCurrentUidGid.Call(),
		asm.StoreMem(asm.RFP, atKey+keyUser, asm.R0, asm.Word),
		asm.StoreMem(asm.RFP, atMember+memberUser, asm.R0, asm.Word),
	)
	w.pointer(asm.R1, atMember+memberCommand)
	w.add(asm.Mov.Imm(asm.R2, commandSize), asm.FnGetCurrentComm.Call())
	for i := int16(0); i < commandSize; i += 4 {
		w.add(asm.LoadMem(asm.R1, asm.RFP, atMember+memberCommand+i, asm.Word), asm.StoreMem(asm.RFP, atEvent+eventCommand+i, asm.R1, asm.Word))
	}
	w.at("caller")
	w.add(asm.FnGetCurrentCgroupId.Call(), asm.StoreMem(asm.RFP, atGroup, asm.R0, asm.DWord))
	w.add(asm.StoreMem(asm.RFP, atEvent+eventGroup, asm.R0, asm.DWord))
	w.lookup("groups", atGroup)
	w.add(asm.JNE.Imm(asm.R0, 0, "group"))
	// A group that is too new to be known is treated like the nearest known group above it.
	for level := int32(depth); level >= 0; level-- {
		w.add(
			asm.Mov.Imm(asm.R1, level), asm.FnGetCurrentAncestorCgroupId.Call(),
			asm.StoreMem(asm.RFP, atGroup, asm.R0, asm.DWord),
		)
		if level > 0 {
			w.add(asm.JEq.Imm(asm.R0, 0, next(level)))
		} else {
			w.add(asm.JEq.Imm(asm.R0, 0, "pass"))
		}
		w.lookup("groups", atGroup)
		w.add(asm.JNE.Imm(asm.R0, 0, "group"))
		if level > 0 {
			w.at(next(level))
		}
	}
	w.add(asm.Ja.Label("pass"))
	w.at("replaced")
	w.again("caller", "pass")
	w.at("group")
	w.add(
		asm.LoadMem(asm.R1, asm.R0, groupClass, asm.Word), asm.StoreMem(asm.RFP, atMember+memberClass, asm.R1, asm.Word),
		asm.LoadMem(sock, asm.R0, groupForms, asm.Word), // the socket is not needed any more
	)
	w.takeScope(groupWhole)
	w.same(asm.R0, atGroup, groupClass, "replaced")
	w.add(asm.JNE.Imm(asm.R1, 0, "member")) // most scopes take whole groups
}

// takeScope reads what a value to which R0 points says of the scope. R1 is the scope then.
func (w *writer) takeScope(at int16) {
	w.add(
		asm.LoadMem(asm.R2, asm.R0, at+memberFlags, asm.Word), asm.StoreMem(asm.RFP, atMemFlag, asm.R2, asm.Word),
		asm.LoadMem(asm.R2, asm.R0, at+memberOthers, asm.DWord), asm.StoreMem(asm.RFP, atOthers, asm.R2, asm.DWord),
		asm.LoadMem(asm.R1, asm.R0, at+memberScope, asm.Word),
	)
}

func next(level int32) string { return "above" + string(rune('a'+level)) }

// Forms of a member, the most specific first. A form tells which of user and command the
// member names.
const (
	formBoth = 1 << iota
	formCommand
	formUser
	formAny
)

// scope finds the scope, in the order of forms. It skips forms that no member of the class
// has.
func (w *writer) scope() {
	for _, f := range []struct {
		bit   int32
		label string
	}{{formBoth, "both"}, {formCommand, "command"}, {formUser, "user"}, {formAny, "any"}} {
		w.at(f.label)
		after := map[string]string{"both": "command", "command": "user", "user": "any", "any": "pass"}[f.label]
		w.add(asm.Mov.Reg(asm.R1, sock), asm.And.Imm(asm.R1, f.bit), asm.JEq.Imm(asm.R1, 0, after))
		switch f.bit {
		case formCommand, formAny:
			w.add(asm.StoreImm(asm.RFP, atMember+memberUser, -1, asm.Word))
		case formUser:
			w.add(asm.LoadMem(asm.R1, asm.RFP, atKey+keyUser, asm.Word), asm.StoreMem(asm.RFP, atMember+memberUser, asm.R1, asm.Word))
		}
		if f.bit == formUser || f.bit == formAny {
			w.add(asm.Mov.Imm(asm.R1, 0))
			for i := int16(0); i < commandSize; i += 8 {
				w.add(asm.StoreMem(asm.RFP, atMember+memberCommand+i, asm.R1, asm.DWord))
			}
		}
		w.lookup("members", atMember)
		w.add(asm.JNE.Imm(asm.R0, 0, "named"))
	}
	w.add(asm.Ja.Label("pass"))
	w.at("named")
	w.takeScope(memberWhole)
	w.same(asm.R0, atMember, memberSize, "replaced")
	w.at("member")
	w.add(
		asm.JEq.Imm(asm.R1, 0, "pass"),
		asm.StoreMem(asm.RFP, atKey+keyScope, asm.R1, asm.Word),
		asm.StoreMem(asm.RFP, atUsual+usualScope, asm.R1, asm.Word),
	)
}

// variant finds out which rules of the scope fit the connection, and so which variant of the
// scope's answers is for it. The maps of ports and networks have an entry for all that no rule
// names, so a lookup there fails only if the scope has been removed a moment ago.
func (w *writer) variant() {
	w.add(
		asm.LoadMem(asm.R1, asm.RFP, atMemFlag, asm.Word),
		asm.And.Imm(asm.R1, int32(flagRules)),
		asm.JEq.Imm(asm.R1, 0, "varied"),
		asm.Mov.Imm(answer, -1),
	)
	check := func(flag Manner, label string) {
		w.add(asm.LoadMem(asm.R1, asm.RFP, atMemFlag, asm.Word), asm.And.Imm(asm.R1, int32(flag)), asm.JEq.Imm(asm.R1, 0, label))
	}
	setScope := func(at int16) {
		w.add(asm.LoadMem(asm.R1, asm.RFP, atKey+keyScope, asm.Word), asm.StoreMem(asm.RFP, atRule+at, asm.R1, asm.Word))
	}
	fit := func() {
		w.add(
			asm.JEq.Imm(asm.R0, 0, "varied"),
			asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord), asm.And.Reg(answer, asm.R1),
		)
	}
	check(flagPorts, "network")
	setScope(ruleScope)
	w.add(
		asm.StoreImm(asm.RFP, atRule+ruleBits, 8*(rulePortSize-ruleScope), asm.Word),
		asm.LoadMem(asm.R1, asm.RFP, atKey+keyPort, asm.Half), asm.StoreMem(asm.RFP, atRule+rulePort, asm.R1, asm.Half),
	)
	w.lookup("ports", atRule)
	fit()
	w.at("network")
	check(flagNetworks, "name")
	setScope(ruleScope)
	w.add(asm.StoreImm(asm.RFP, atRule+ruleBits, 8*(ruleAddrSize-ruleScope), asm.Word))
	w.copyAddr(atRule+ruleAddr, atKey+keyAddr)
	w.lookup("networks", atRule)
	fit()
	w.at("name")
	check(flagCommands, "fits")
	setScope(ruleCommandScope)
	for i := int16(0); i < commandSize; i += 4 {
		w.add(asm.LoadMem(asm.R1, asm.RFP, atEvent+eventCommand+i, asm.Word), asm.StoreMem(asm.RFP, atRule+ruleCommand+i, asm.R1, asm.Word))
	}
	w.lookup("commands", atRule)
	w.add(
		asm.LoadMem(asm.R1, asm.RFP, atOthers, asm.DWord),
		asm.JEq.Imm(asm.R0, 0, "others"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
	)
	w.at("others")
	w.add(asm.And.Reg(answer, asm.R1))
	w.at("fits")
	setScope(variantScope)
	w.add(asm.StoreImm(asm.RFP, atRule+variantScope+4, 0, asm.Word), asm.StoreMem(asm.RFP, atRule+variantFits, answer, asm.DWord))
	w.lookup("variants", atRule)
	w.add(
		asm.JEq.Imm(asm.R0, 0, "varied"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.Byte),
		asm.StoreMem(asm.RFP, atKey+keyVariant, asm.R1, asm.Byte),
		asm.StoreMem(asm.RFP, atUsual+usualVariant, asm.R1, asm.Byte),
	)
	w.at("varied")
}
