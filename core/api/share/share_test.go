package share_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/strakehq/strake/core/api/share"
)

func TestAnswersAreSharedAndNeverOlderThanTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g share.Group
		var state, asked atomic.Int64
		hold := make(chan struct{})
		ask := func(context.Context) ([]byte, error) {
			asked.Add(1)
			b := fmt.Append(nil, state.Load())
			<-hold
			return b, nil
		}
		var all sync.WaitGroup
		call := func(ctx context.Context, question, want string, wantErr error) {
			all.Go(func() {
				got, err := g.Do(ctx, question, ask)
				if string(got) != want || !errors.Is(err, wantErr) {
					t.Errorf("%s: %q, %v, want %q, %v", question, got, err, want, wantErr)
				}
			})
			synctest.Wait()
		}
		call(t.Context(), "list", "0", nil) // begins at once
		state.Store(1)
		gone, leave := context.WithCancel(t.Context())
		call(gone, "list", "", context.Canceled) // the first of those that share an answer
		for range 20 {
			call(t.Context(), "list", "1", nil)
		}
		call(t.Context(), "other", "1", nil)
		leave()
		synctest.Wait()
		close(hold)
		all.Wait()
		if n := asked.Load(); n != 3 {
			t.Errorf("asked %d times, want once for the first, once for all others, once for the other question", n)
		}
		call(t.Context(), "list", "1", nil)
		all.Wait()
		if n := asked.Load(); n != 4 {
			t.Errorf("asked %d times in the end, want 4: nothing is kept", n)
		}
	})
}
