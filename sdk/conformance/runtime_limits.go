package conformance

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/strakehq/strake/sdk/runtime"
)

func limitCases() []runtimeCase {
	return []runtimeCase{
		{"Update changes limits in the cgroup", updateLimits},
		{"statistics count processors, memory, processes", statistics},
		{"a process killed for memory is told as such", oomKilled},
		{"a child killed for memory is an event, the container goes on", oomEvent},
	}
}

const mib = 1 << 20

func memoryLimit(bytes int) map[string]any {
	return map[string]any{"memory": map[string]any{"limit": bytes}, "pids": map[string]any{"limit": 50}}
}

func updateLimits(l *runtimeLab) {
	b := l.run(box{script: "sleep 1000", limits: memoryLimit(64 * mib)})
	for range 2 {
		r, err := json.Marshal(memoryLimit(32 * mib))
		l.NoError(err, "encode resources")
		l.NoError(l.d.Update(l.ctx, b.id, r), "update")
	}
	var seen []string
	for _, d := range cgroupDirs(b.cgroup()) {
		for _, f := range []string{"memory.max", "memory.limit_in_bytes"} {
			if v, err := os.ReadFile(d + "/" + f); err == nil {
				seen = append(seen, strings.TrimSpace(string(v)))
			}
		}
	}
	if !slices.Equal(seen, []string{itoa(32 * mib)}) {
		l.Errorf("limits in the cgroup: %v", seen)
	}
}

func statistics(l *runtimeLab) {
	b := l.run(box{script: `i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1000 & echo ready; wait`, limits: memoryLimit(64 * mib)})
	l.until(b, "ready")
	s, err := l.d.Stats(l.ctx, b.id)
	l.NoError(err, "stats")
	switch {
	case s.At.IsZero(), s.CPU.Total == 0, s.CPU.System < s.CPU.Total, s.CPU.OnlineCPUs == 0:
		l.Errorf("processor: %+v", s.CPU)
	case s.Memory.Usage == 0, s.Memory.Limit != 64*mib, len(s.Memory.Stats) == 0:
		l.Errorf("memory: %+v", s.Memory)
	case s.Pids.Current < 2, s.Pids.Limit != 50:
		l.Errorf("processes: %+v", s.Pids)
	}
	pids, err := l.d.Processes(l.ctx, b.id)
	l.NoError(err, "processes")
	if uint64(len(pids)) != s.Pids.Current || !slices.Contains(pids, l.state(b, "").Pid) {
		l.Errorf("processes %v, statistics say %d", pids, s.Pids.Current)
	}
}

// hungry fills memory.
const hungry = `dd if=/dev/zero of=/dev/null bs=90M count=1`

func oomKilled(l *runtimeLab) {
	b := l.run(box{args: []string{"dd", "if=/dev/zero", "of=/dev/null", "bs=90M", "count=1"}, limits: memoryLimit(16 * mib)})
	if e := l.wait(b, ""); !e.OOMKilled || e.Code != 137 {
		l.Errorf("exit: %+v", e)
	}
}

func oomEvent(l *runtimeLab) {
	b := l.create(box{script: hungry + `; echo survived; sleep 1000`, limits: memoryLimit(16 * mib)})
	struck := make(chan runtime.Event, 16)
	ctx, cancel := context.WithCancel(l.ctx)
	watch := make(chan error, 1)
	go func() {
		watch <- l.d.WatchEvents(ctx, func(e runtime.Event) {
			if e.Kind == runtime.OOM && e.ID == b.id {
				struck <- e
			}
		})
	}()
	l.Cleanup(func() {
		cancel()
		<-watch //nolint:errcheck // it ends with its context
	})
	time.Sleep(50 * time.Millisecond) // events of this kind are not repeated: let the watch begin
	_, err := l.d.Start(l.ctx, b.id)
	l.NoError(err, "start")
	l.until(b, "survived")
	select {
	case e := <-struck:
		if e.At.IsZero() {
			l.Errorf("event: %+v", e)
		}
	case <-l.ctx.Done():
		l.Fatalf("no event")
	}
	l.status(b, runtime.Running)
}
