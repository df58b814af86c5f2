// Package share lets requests that ask for the same at the same time have one
// answer.
package share

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// Group makes answers by question. The zero value is ready. It is safe for
// concurrent use.
type Group struct {
	mu sync.Mutex
	// asking has the questions that are being answered, each with the answer for
	// those who have asked meanwhile; nil: nobody has.
	asking map[string]*answer // guarded by mu
}

type answer struct {
	ask   func() ([]byte, error)
	ready chan struct{}
	bytes []byte
	err   error
}

// Do returns what ask answers, begun after Do was called: unlike with
// golang.org/x/sync/singleflight, an answer is never older than its question.
// Those who ask while another answer is being made wait and share the next one,
// so nobody waits for more than two. ask's context outlives the request's. The
// bytes are not to be changed.
func (g *Group) Do(ctx context.Context, question string, ask func(context.Context) ([]byte, error)) ([]byte, error) {
	lasting := context.WithoutCancel(ctx)
	g.mu.Lock()
	a, answering := g.asking[question]
	if !answering {
		if g.asking == nil {
			g.asking = map[string]*answer{}
		}
		g.asking[question] = nil
		g.mu.Unlock()
		defer g.pass(question)
		return ask(lasting)
	}
	if a == nil {
		a = &answer{ask: func() ([]byte, error) { return ask(lasting) }, ready: make(chan struct{})}
		g.asking[question] = a
	}
	g.mu.Unlock()
	select {
	case <-a.ready:
		return a.bytes, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pass ends an answer. The next is made by a goroutine of its own, as long as
// somebody asks.
func (g *Group) pass(question string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.asking[question]
	if a == nil {
		delete(g.asking, question)
		return
	}
	g.asking[question] = nil
	go func() {
		defer g.pass(question)
		a.make()
	}()
}

// make answers. A panic is an error, as it is in a request's own goroutine,
// where net/http sees to that.
func (a *answer) make() {
	defer close(a.ready)
	defer func() {
		if p := recover(); p != nil {
			a.bytes, a.err = nil, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	a.bytes, a.err = a.ask()
}
