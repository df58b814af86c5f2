package stdio

import "time"

const (
	// gather is how long lines that come fast may wait for each other.
	gather = time.Millisecond
	// soon is a wait so short that the next line was as good as there.
	soon = 200 * time.Microsecond
	// manyAtOnce in a row are a habit.
	manyAtOnce = 16
	// enough bytes need not wait for more.
	enough = 16 << 10
)

// pace slows the reading of lines that come one by one and fast, as a busy web
// server's log does: each would cost a wake-up, three system calls and the
// processor that the server could use. The pipe holds them meanwhile.
type pace struct{ fast int }

// pause is how long to wait before the next read, after one that waited that
// long for that many bytes.
func (p *pace) pause(waited time.Duration, fresh int) time.Duration {
	if waited > soon || fresh >= enough {
		p.fast = 0
		return 0
	}
	if p.fast < manyAtOnce {
		p.fast++
		return 0
	}
	return gather
}
