package runtimewire

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strakehq/strake/sdk/internal/wire/wiretest"
	"github.com/strakehq/strake/sdk/runtime"
)

func TestNoFieldIsLost(t *testing.T) {
	var f wiretest.Filler
	var io runtime.IO
	f.Fill(&io)
	var state runtime.State
	f.Fill(&state)
	var stats runtime.Stats
	f.Fill(&stats)
	streams := runtime.StreamSet{Stdin: true, Stderr: true}
	for _, pair := range [][2]any{
		{io, fromIO(toIO(io))},
		{state, fromState(toState(state))},
		{stats, fromStats(toStats(stats))},
		{streams, fromStreams(toStreams(streams))},
		{runtime.State{}, fromState(toState(runtime.State{}))},
		{runtime.Stats{}, fromStats(toStats(runtime.Stats{}))},
		{runtime.State{}, fromState(nil)},
	} {
		if d := cmp.Diff(pair[0], pair[1]); d != "" {
			t.Error(d)
		}
	}
}
