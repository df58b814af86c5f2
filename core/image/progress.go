package image

import (
	"sync"
	"time"

	"github.com/moby/moby/api/types/jsonstream"

	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/core/unpack"
)

// interval is how often a layer's progress is told.
const interval = 100 * time.Millisecond

// layerProgress tells what happens to an image's layers in Docker's words.
// Download and extraction run at once; the one is shown after the other.
type layerProgress struct {
	send images.Progress
	ids  []string

	mu    sync.Mutex
	state []layerState // guarded by mu
	fresh bool         // guarded by mu: something was downloaded or unpacked
}

type layerState struct {
	last       time.Time
	downloaded bool
}

func newLayerProgress(send images.Progress, layers []unpack.Layer) *layerProgress {
	p := &layerProgress{send: send, state: make([]layerState, len(layers))}
	for _, l := range layers {
		p.ids = append(p.ids, short(l.Blob.Digest))
	}
	return p
}

// report implements unpack.Report.
func (p *layerProgress) report(i int, phase unpack.Phase, current, total int64) {
	m := jsonstream.Message{ID: p.ids[i], Progress: &jsonstream.Progress{}}
	p.mu.Lock()
	s := &p.state[i]
	if phase != unpack.Exists && phase != unpack.Queued {
		p.fresh = true
	}
	if phase == unpack.Downloaded && s.downloaded {
		p.mu.Unlock() // a driver without Apply gets it from the store: told before
		return
	}
	switch phase {
	case unpack.Queued:
		m.Status = "Pulling fs layer"
	case unpack.Downloading:
		m.Status = "Downloading"
	case unpack.Verifying:
		m.Status = "Verifying Checksum"
	case unpack.Downloaded:
		m.Status = "Download complete"
		s.downloaded = true
	case unpack.Extracting:
		m.Status = "Extracting"
	case unpack.Done:
		m.Status = "Pull complete"
	case unpack.Exists:
		m.Status = "Already exists"
	}
	counted := phase == unpack.Downloading || phase == unpack.Extracting
	if counted {
		m.Progress.Current, m.Progress.Total = current, total
		due := time.Since(s.last) >= interval || current == total
		if !due || phase == unpack.Extracting != s.downloaded {
			p.mu.Unlock()
			return
		}
		s.last = time.Now()
	}
	p.mu.Unlock()
	p.send(m)
}

// changed says whether anything was new.
func (p *layerProgress) changed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fresh
}

// status is a message about the whole operation.
func status(id, text string) jsonstream.Message { return jsonstream.Message{ID: id, Status: text} }
