package hook

import (
	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// These bound the maps.
const (
	maxGroups  = 16384
	maxMembers = 4096
	maxUsual   = 16384
	maxAnswers = 16384
	maxAside   = 65536
	// Entries of rules take memory only as they are needed.
	maxRules    = 1 << 17
	maxCommands = 8192
	maxVariants = 16384
	// Buckets for all of them are read with each reading, also where there are few.
	maxFlows = 16384
	ringSize = 256 << 10
)

// mapSpecs describes the maps.
func mapSpecs() map[string]*ebpf.MapSpec {
	return map[string]*ebpf.MapSpec{
		"settings": {Type: ebpf.Array, KeySize: 4, ValueSize: settingsSize, MaxEntries: 1},
		"down":     {Type: ebpf.Array, KeySize: 4, ValueSize: MaxNetworks + 1, MaxEntries: 1},
		"groups":   {Type: ebpf.Hash, KeySize: 8, ValueSize: groupSize, MaxEntries: maxGroups},
		"members":  {Type: ebpf.Hash, KeySize: memberSize, ValueSize: memberValueSize, MaxEntries: maxMembers},
		"usual":    {Type: ebpf.Hash, KeySize: usualSize, ValueSize: answerSize, MaxEntries: maxUsual, Flags: unix.BPF_F_NO_PREALLOC},
		"answers":  {Type: ebpf.Hash, KeySize: keySize, ValueSize: answerSize, MaxEntries: maxAnswers},
		"told":     {Type: ebpf.LRUHash, KeySize: keySize, ValueSize: 8, MaxEntries: maxAnswers},
		"aside":    {Type: ebpf.LPMTrie, KeySize: asideSize, ValueSize: 4, MaxEntries: maxAside, Flags: unix.BPF_F_NO_PREALLOC},
		"ports":    {Type: ebpf.LPMTrie, KeySize: rulePortSize, ValueSize: ruleFits, MaxEntries: maxRules, Flags: unix.BPF_F_NO_PREALLOC},
		"networks": {Type: ebpf.LPMTrie, KeySize: ruleAddrSize, ValueSize: ruleFits, MaxEntries: maxRules, Flags: unix.BPF_F_NO_PREALLOC},
		"commands": {Type: ebpf.Hash, KeySize: ruleCommandSize, ValueSize: ruleFits, MaxEntries: maxCommands, Flags: unix.BPF_F_NO_PREALLOC},
		"variants": {Type: ebpf.Hash, KeySize: variantSize, ValueSize: 4, MaxEntries: maxVariants, Flags: unix.BPF_F_NO_PREALLOC},
		"events":   {Type: ebpf.RingBuf, MaxEntries: ringSize},
		"flows":    {Type: ebpf.Hash, KeySize: 8, ValueSize: flowSize, MaxEntries: maxFlows, Flags: unix.BPF_F_NO_PREALLOC},
		"lost":     {Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1},
		"woken":    {Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1},
	}
}
