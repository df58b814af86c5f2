package driver

import (
	"maps"
	"sync"
)

// calls counts the calls that were made to a driver, by method, over all its
// processes. A repetition counts again; streams that only watch do not.
type calls struct {
	mu sync.Mutex
	by map[string]int // guarded by mu
}

func (c *calls) add(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[string]int{}
	}
	c.by[method]++
}

func (c *calls) all() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.by)
}
