package bulk

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/containerd/errdefs"
)

func host(t testing.TB) Host {
	dir, err := os.MkdirTemp("", "sb") //nolint:usetesting // sockets need a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
		os.RemoveAll(dir)
	})
	return Host{Dir: dir, Pool: &Pool{}}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func TestBytesArriveWholeAndInOrder(t *testing.T) {
	for _, n := range []int{0, 1, 4095, fill, fill + 1, MaxFrame, MaxFrame + 1, 5*MaxFrame + 7} {
		t.Run(fmt.Sprint(n, " bytes"), func(t *testing.T) {
			want, h := random(n), host(t)
			var up bytes.Buffer
			whole, err := h.Upload(t.Context(), iotest.HalfReader(bytes.NewReader(want)), func(ctx context.Context, s string) error {
				return Receive(ctx, s, h.Pool, func(r io.Reader) error {
					_, err := io.Copy(&up, r)
					return err
				})
			})
			if err != nil || !whole || !bytes.Equal(up.Bytes(), want) {
				t.Errorf("upload: %d bytes, whole %v, %v", up.Len(), whole, err)
			}
			var down bytes.Buffer
			err = h.Download(t.Context(), &down, func(ctx context.Context, s string) error {
				return Provide(ctx, s, h.Pool, func(w io.Writer) error {
					for c := range slicesOf(want, 777) {
						if _, err := w.Write(c); err != nil {
							return err
						}
					}
					return nil
				})
			})
			if err != nil || !bytes.Equal(down.Bytes(), want) {
				t.Errorf("download: %d bytes, %v", down.Len(), err)
			}
		})
	}
}

func slicesOf(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			c := b[:min(n, len(b))]
			b = b[len(c):]
			if !yield(c) {
				return
			}
		}
	}
}

func TestASourceThatIsCutOffIsNeverTakenForItsEnd(t *testing.T) {
	h := host(t)
	var seen error
	src := io.MultiReader(bytes.NewReader(random(10)), iotest.ErrReader(io.ErrUnexpectedEOF))
	_, err := h.Upload(t.Context(), src, func(ctx context.Context, s string) error {
		return Receive(ctx, s, h.Pool, func(r io.Reader) error {
			_, seen = io.Copy(io.Discard, r)
			return seen
		})
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) || errdefs.IsAborted(err) {
		t.Errorf("the caller got %v", err)
	}
	if !errdefs.IsAborted(seen) || !strings.Contains(seen.Error(), "unexpected EOF") {
		t.Errorf("the driver got %v", seen)
	}
}

func TestADriversErrorIsTheReaders(t *testing.T) {
	h := host(t)
	broken := fmt.Errorf("blob x: %w", errdefs.ErrDataLoss)
	r, err := h.Open(t.Context(), func(ctx context.Context, s string) error {
		return Provide(ctx, s, h.Pool, func(w io.Writer) error {
			if _, err := w.Write(random(3 * MaxFrame)); err != nil {
				return err
			}
			return broken
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, r)
	if !errors.Is(err, errdefs.ErrDataLoss) {
		t.Errorf("after %d bytes: %v", n, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestADriverThatFailsAtOnceIsHeard(t *testing.T) {
	h := host(t)
	gone := fmt.Errorf("blob x: %w", errdefs.ErrNotFound)
	call := func(context.Context, string) error { return gone }
	if _, err := h.Open(t.Context(), call); !errors.Is(err, gone) {
		t.Errorf("open: %v", err)
	}
	if _, err := h.Upload(t.Context(), bytes.NewReader(random(10)), call); !errors.Is(err, gone) {
		t.Errorf("upload: %v", err)
	}
}

func TestADriverThatNeverConnectsIsFoundOut(t *testing.T) {
	h := host(t)
	_, err := h.Open(t.Context(), func(context.Context, string) error { return nil })
	if !errdefs.IsInternal(err) {
		t.Error(err)
	}
}

func TestAConnectionThatBreaksIsNoEnd(t *testing.T) {
	h := host(t)
	r, err := h.Open(t.Context(), func(ctx context.Context, s string) error {
		c, err := Dial(ctx, s)
		if err != nil {
			return err
		}
		_, err = NewWriter(c, h.Pool).Write(random(100))
		return errors.Join(err, c.Close()) // a driver of another make: no end, no error
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) || len(b) != 100 {
		t.Error(len(b), err)
	}
}

func TestClosingEarlyCancelsTheCall(t *testing.T) {
	h := host(t)
	stopped := make(chan error, 1)
	r, err := h.Open(t.Context(), func(ctx context.Context, s string) error {
		err := Provide(ctx, s, h.Pool, func(w io.Writer) error {
			for {
				if _, err := w.Write(make([]byte, MaxFrame)); err != nil {
					return err
				}
			}
		})
		stopped <- err
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-stopped; err == nil {
		t.Error("the driver was let to finish")
	}
}

func TestAnEndedContextEndsTransfers(t *testing.T) {
	h := host(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := h.Open(ctx, func(ctx context.Context, s string) error {
		return Provide(ctx, s, h.Pool, func(io.Writer) error {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		})
	})
	if err == nil {
		_, err = io.ReadAll(r)
		r.Close()
	}
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestADriverMayHaveEnough(t *testing.T) {
	h := host(t)
	whole, err := h.Upload(t.Context(), io.LimitReader(zeros{}, 64<<20), func(ctx context.Context, s string) error {
		return Receive(ctx, s, h.Pool, func(r io.Reader) error {
			_, err := io.ReadFull(r, make([]byte, 10))
			return err
		})
	})
	if err != nil || whole {
		t.Error(whole, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestADirectoryWithTooLongAPathIsRefused(t *testing.T) {
	_, err := Listen("/" + strings.Repeat("x", MaxPath))
	if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "shorter") {
		t.Error(err)
	}
}

func TestManyTransfersAtOnce(t *testing.T) {
	h := host(t)
	errs := make(chan error)
	for range 32 {
		go func() {
			n := int64(0)
			err := h.Download(t.Context(), writerFunc(func(p []byte) (int, error) {
				n += int64(len(p))
				return len(p), nil
			}), func(ctx context.Context, s string) error {
				return Provide(ctx, s, h.Pool, func(w io.Writer) error {
					_, err := io.Copy(w, io.LimitReader(zeros{}, 3<<20))
					return err
				})
			})
			if n != 3<<20 {
				err = errors.Join(err, fmt.Errorf("%d bytes", n))
			}
			errs <- err
		}()
	}
	for range 32 {
		select {
		case err := <-errs:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("stuck")
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func BenchmarkDownload(b *testing.B) {
	h := host(b)
	const size = 256 << 20
	b.SetBytes(size)
	for b.Loop() {
		if err := h.Download(b.Context(), io.Discard, func(ctx context.Context, s string) error {
			return Provide(ctx, s, h.Pool, func(w io.Writer) error {
				_, err := io.Copy(w, struct{ io.Reader }{io.LimitReader(zeros{}, size)})
				return err
			})
		}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUpload(b *testing.B) {
	h := host(b)
	for _, piece := range []int64{32 << 10, 1 << 20} {
		b.Run(fmt.Sprint("source reads of ", piece), func(b *testing.B) {
			const size = 256 << 20
			b.SetBytes(size)
			for b.Loop() {
				if _, err := h.Upload(b.Context(), pieces{io.LimitReader(zeros{}, size), piece}, func(ctx context.Context, s string) error {
					return Receive(ctx, s, h.Pool, func(r io.Reader) error { return Drain(r) })
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type pieces struct {
	r io.Reader
	n int64
}

func (p pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(int64(len(b)), p.n)]) }

// BenchmarkSmall is the cost of a transfer beside its bytes.
func BenchmarkSmall(b *testing.B) {
	h := host(b)
	for b.Loop() {
		if err := h.Download(b.Context(), io.Discard, func(ctx context.Context, s string) error {
			return Provide(ctx, s, h.Pool, func(io.Writer) error { return nil })
		}); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 3, 'a', 'b', 'c', 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 3, 'a', 'b'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2, 'n', 'o'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 2})
	f.Add([]byte{0, 0x20, 0, 0, 'x'})
	f.Fuzz(func(t *testing.T, wire []byte) {
		var out bytes.Buffer
		_, err := io.Copy(&out, NewReader(bytes.NewReader(wire), &Pool{}))
		if err != nil {
			return
		}
		// A clean end means that the same bytes, framed anew, read the same.
		var again bytes.Buffer
		w := NewWriter(&again, &Pool{})
		if _, err := w.Write(out.Bytes()); err != nil {
			t.Fatal(err)
		}
		if err := w.End(); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(NewReader(&again, &Pool{}))
		if err != nil || !bytes.Equal(b, out.Bytes()) {
			t.Fatal(err)
		}
	})
}

// A driver that hangs in the midst of a transfer, or before it, does not keep
// its host for ever.
func TestADriverThatStallsIsGivenUp(t *testing.T) {
	h := host(t)
	h.Stall = 100 * time.Millisecond
	never := func(ctx context.Context, _ string) error { <-ctx.Done(); return context.Canceled }
	silent := func(ctx context.Context, socket string) error {
		c, err := Dial(ctx, socket)
		if err != nil {
			return err
		}
		<-ctx.Done()
		return errors.Join(context.Canceled, c.Close())
	}
	for name, call := range map[string]Call{"never connects": never, "connects and is silent": silent} {
		t.Run(name, func(t *testing.T) {
			if _, err := h.Upload(t.Context(), rand.Reader, call); !errdefs.IsUnavailable(err) {
				t.Errorf("upload: %v", err)
			}
			if err := h.Download(t.Context(), io.Discard, call); !errdefs.IsUnavailable(err) {
				t.Errorf("download: %v", err)
			}
		})
	}
}
