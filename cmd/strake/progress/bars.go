package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// bars shows one line per layer that redraws in place.
type bars struct {
	out   io.Writer
	p     *mpb.Progress
	byID  map[string]*bar
	after strings.Builder // lines that follow the bars
}

func newBars(out io.Writer) *bars {
	return &bars{out: out, byID: map[string]*bar{}}
}

// bar is one layer. Its decorators run on mpb's goroutine.
type bar struct {
	*mpb.Bar
	mu      sync.Mutex
	status  string             // guarded by mu
	current jsonstream.Message // guarded by mu
}

func (b *bars) message(m jsonstream.Message) error {
	if m.ID == "" || m.Status == "" || strings.HasPrefix(m.Status, "Pulling from") || strings.HasPrefix(m.Status, "The push refers") {
		if b.p == nil {
			_, err := io.WriteString(b.out, text(m))
			return err
		}
		b.after.WriteString(text(m))
		return nil
	}
	l, ok := b.byID[m.ID]
	if !ok {
		var err error
		if l, err = b.add(m.ID); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.status, l.current = m.Status, m
	l.mu.Unlock()
	if m.Progress != nil && m.Progress.Total > 0 {
		l.SetTotal(m.Progress.Total, false)
		l.SetCurrent(min(m.Progress.Current, m.Progress.Total-1))
	}
	return nil
}

func (b *bars) add(id string) (*bar, error) {
	if b.p == nil {
		b.p = mpb.New(mpb.WithOutput(b.out), mpb.WithWidth(50))
	}
	l := &bar{}
	var err error
	l.Bar, err = b.p.Add(0, mpb.BarFillerFunc(l.fill),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return id + ": " + l.label() })),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return l.counts() })))
	b.byID[id] = l
	return l, err
}

func (l *bar) label() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status + " "
}

// fill draws the bar while bytes move, and nothing before and after.
func (l *bar) fill(w io.Writer, s decor.Statistics) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.current.Progress
	if p == nil || p.Total <= 0 {
		return nil
	}
	const width = 40
	done := int(min(p.Current, p.Total) * width / p.Total)
	if s.AvailableWidth < width+2 {
		return nil
	}
	_, err := fmt.Fprintf(w, "[%s>%s]", strings.Repeat("=", done), strings.Repeat(" ", width-done))
	return err
}

func (l *bar) counts() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.current.Progress
	switch {
	case p == nil || p.Current <= 0 && p.Total <= 0:
		return ""
	case p.Total <= 0:
		return " " + units.HumanSize(float64(p.Current))
	}
	return fmt.Sprintf(" %s/%s", units.HumanSize(float64(p.Current)), units.HumanSize(float64(p.Total)))
}

func (b *bars) close(done bool) error {
	if b.p != nil {
		for _, l := range b.byID {
			if done {
				l.SetTotal(-1, true)
			} else {
				l.Abort(false)
			}
		}
		b.p.Wait()
	}
	_, err := io.WriteString(b.out, b.after.String())
	return err
}
