package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

func blobCases() []registryCase {
	return []registryCase{
		{"a blob arrives from every offset, after a crash too", func(l *registryLab) {
			b := randomBytes(300_000)
			l.pushBlob(l.repo, b)
			l.crash()
			for _, off := range []int64{0, 1, 150_000, int64(len(b)) - 1, int64(len(b))} {
				l.wantBytes(l.repo, b, off, fmt.Sprintf("fetch from %d", off))
			}
		}},
		{"an offset outside of the blob is refused", func(l *registryLab) {
			d := l.pushBlob(l.repo, randomBytes(100))
			for _, off := range []int64{-1, 101} {
				_, err := l.fetch(l.ctx, l.repo, d, off)
				l.ErrorIs(err, errdefs.ErrOutOfRange, fmt.Sprintf("fetch from %d", off))
			}
		}},
		{"a blob can be asked for its size", func(l *registryLab) {
			d := l.pushBlob(l.repo, randomBytes(12_345))
			got, err := l.d.StatBlob(l.ctx, l.repo, d.Digest)
			l.NoError(err, "stat blob")
			if got.Digest != d.Digest || got.Size != d.Size {
				l.Errorf("got %s with %d bytes, want %s with %d", got.Digest, got.Size, d.Digest, d.Size)
			}
		}},
		{"a blob that is not there is not found, and the error names it", func(l *registryLab) {
			nothing := descriptorOf("", []byte("nothing"))
			_, err := l.d.StatBlob(l.ctx, l.repo, nothing.Digest)
			l.ErrorIs(err, errdefs.ErrNotFound, "stat blob")
			l.names(err, l.repo.Host, l.repo.Name, nothing.Digest.String())
			_, err = l.fetch(l.ctx, l.repo, nothing, 0)
			l.ErrorIs(err, errdefs.ErrNotFound, "fetch blob")
			l.names(err, l.repo.Host, l.repo.Name, nothing.Digest.String())
			_, err = l.d.StatBlob(l.ctx, l.repo, "sha256:short")
			l.ErrorIs(err, errdefs.ErrInvalidArgument, "stat a malformed digest")
		}},
		{"many blobs arrive side by side", func(l *registryLab) {
			var wg sync.WaitGroup
			blobs := make([][]byte, 8)
			for i := range blobs {
				blobs[i] = randomBytes(200_000 + i)
				l.pushBlob(l.repo, blobs[i])
			}
			errs := make([]error, len(blobs))
			for i, b := range blobs {
				wg.Go(func() {
					got, err := l.fetch(l.ctx, l.repo, descriptorOf("", b), 0)
					if err == nil && !bytes.Equal(got, b) {
						err = errors.New("bytes differ")
					}
					errs[i] = err
				})
			}
			wg.Wait()
			l.NoError(errors.Join(errs...), "fetch side by side")
		}},
		{"a reader that is closed early leaves the driver usable", func(l *registryLab) {
			b := randomBytes(2 << 20)
			d := l.pushBlob(l.repo, b)
			for range Repeats {
				rc, err := l.d.FetchBlob(l.ctx, l.repo, d, 0)
				l.NoError(err, "fetch")
				_, err = io.ReadFull(rc, make([]byte, 10))
				l.NoError(err, "read a little")
				l.NoError(rc.Close(), "close early")
			}
			l.wantBytes(l.repo, b, 0, "fetch afterwards")
		}},
		{"a fetch ends when its context does", func(l *registryLab) {
			s := newRegistryServer(l.T)
			r := l.at(s.host)
			d := l.pushBlob(r, randomBytes(100_000))
			asked := make(chan struct{}, 1)
			s.setFault(func(w http.ResponseWriter, q *http.Request) bool {
				if !isBlobGet(q) {
					return false
				}
				w.Header().Set("Content-Length", strconv.FormatInt(d.Size, 10))
				_, _ = w.Write(s.body(q)[:1000]) // the client's affair
				w.(http.Flusher).Flush()         //nolint:forcetypeassert // net/http's writers are
				asked <- struct{}{}
				<-q.Context().Done()
				return true
			})
			ctx, cancel := context.WithCancel(l.ctx)
			go func() {
				<-asked
				cancel()
			}()
			if _, err := l.fetch(ctx, r, d, 0); err == nil {
				l.Errorf("reading ended without an error")
			}
		}},
	}
}

// brokenBlobCases: registries and networks as they are.
func brokenBlobCases() []registryCase {
	const size = 1 << 20
	// broken pushes a blob to a server, breaks the server and fetches.
	broken := func(l *registryLab, fault func(s *registryServer) func(http.ResponseWriter, *http.Request) bool) ([]byte, []byte, error) {
		s := newRegistryServer(l.T)
		r := l.at(s.host)
		b := randomBytes(size)
		d := l.pushBlob(r, b)
		s.setFault(fault(s))
		got, err := l.fetch(l.ctx, r, d, 0)
		if err != nil {
			l.names(err, r.Host, d.Digest.String())
		}
		return b, got, err
	}
	mended := func(name string, fault func(s *registryServer) func(http.ResponseWriter, *http.Request) bool) registryCase {
		return registryCase{name, func(l *registryLab) {
			want, got, err := broken(l, fault)
			l.NoError(err, "fetch")
			if !bytes.Equal(got, want) {
				l.Errorf("got %d bytes that differ from the %d there are", len(got), len(want))
			}
		}}
	}
	refused := func(name string, class error, fault func(s *registryServer) func(http.ResponseWriter, *http.Request) bool) registryCase {
		return registryCase{name, func(l *registryLab) {
			_, _, err := broken(l, fault)
			l.ErrorIs(err, class, "fetch")
		}}
	}
	return []registryCase{
		mended("a transfer that breaks off is resumed where it was", func(s *registryServer) func(http.ResponseWriter, *http.Request) bool {
			return times(3, isBlobGet, func(w http.ResponseWriter, r *http.Request) {
				body := s.body(r)
				from := 0
				if h := r.Header.Get("Range"); h != "" {
					from, _ = strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(h, "bytes="), "-")) // zero is as good
					w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, size-1, size))
					w.Header().Set("Content-Length", strconv.Itoa(size-from))
					w.WriteHeader(http.StatusPartialContent)
				} else {
					w.Header().Set("Content-Length", strconv.Itoa(size))
				}
				cut(w, body[from:from+200_000])
			})
		}),
		mended("a registry that ignores ranges is read past what there is", func(s *registryServer) func(http.ResponseWriter, *http.Request) bool {
			first := times(1, isBlobGet, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", strconv.Itoa(size))
				cut(w, s.body(r)[:500_000])
			})
			return func(w http.ResponseWriter, r *http.Request) bool {
				if first(w, r) {
					return true
				}
				r.Header.Del("Range")
				return false
			}
		}),
		mended("a registry that is overloaded for a moment is asked again", func(*registryServer) func(http.ResponseWriter, *http.Request) bool {
			return times(3, isBlobGet, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
		}),
		mended("a connection that is reset before the answer is made again", func(*registryServer) func(http.ResponseWriter, *http.Request) bool {
			return times(2, isBlobGet, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		}),
		refused("a range that was not asked for is refused", errdefs.ErrDataLoss, func(s *registryServer) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if !isBlobGet(r) {
					return false
				}
				if r.Header.Get("Range") == "" {
					w.Header().Set("Content-Length", strconv.Itoa(size))
					cut(w, s.body(r)[:500_000])
				}
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", size-1, size))
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(s.body(r)) // the client's affair
				return true
			}
		}),
		refused("a blob of another length is refused", errdefs.ErrDataLoss, func(s *registryServer) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if isBlobGet(r) {
					_, _ = w.Write(s.body(r)[:2000]) // the client's affair
				}
				return isBlobGet(r)
			}
		}),
		refused("a registry that never recovers is given up", errdefs.ErrUnavailable, func(*registryServer) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if isBlobGet(r) {
					w.WriteHeader(http.StatusBadGateway)
				}
				return isBlobGet(r)
			}
		}),
		refused("a transfer that never gets further is given up", errdefs.ErrUnavailable, func(*registryServer) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if !isBlobGet(r) {
					return false
				}
				w.Header().Set("Content-Length", strconv.Itoa(size))
				if h := r.Header.Get("Range"); h != "" {
					from, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(h, "bytes="), "-")) // zero is as good
					w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, size-1, size))
					w.Header().Set("Content-Length", strconv.Itoa(size-from))
					w.WriteHeader(http.StatusPartialContent)
				}
				cut(w, []byte("x"))
				return true
			}
		}),
	}
}

func pushCases() []registryCase {
	return []registryCase{
		{"a blob pushed again is no error", func(l *registryLab) {
			b := randomBytes(50_000)
			for range Repeats {
				l.pushBlob(l.repo, b)
			}
			l.crash()
			l.pushBlob(l.repo, b)
			l.wantBytes(l.repo, b, 0, "fetch")
		}},
		{"an empty blob can be pushed", func(l *registryLab) {
			d := l.pushBlob(l.repo, nil)
			got, err := l.d.StatBlob(l.ctx, l.repo, d.Digest)
			l.NoError(err, "stat")
			if got.Size != 0 {
				l.Errorf("size is %d", got.Size)
			}
		}},
		{"content that is not what its descriptor says does not appear", func(l *registryLab) {
			good := randomBytes(10_000)
			d := descriptorOf("", good)
			for what, content := range map[string][]byte{"other bytes": randomBytes(10_000), "too short": good[:5000]} {
				if err := l.d.PushBlob(l.ctx, l.repo, d, bytes.NewReader(content)); err == nil {
					l.Errorf("%s: no error", what)
				}
				_, err := l.d.StatBlob(l.ctx, l.repo, d.Digest)
				l.ErrorIs(err, errdefs.ErrNotFound, what+": stat afterwards")
			}
			l.pushBlob(l.repo, good)
		}},
		{"a blob is mounted from another repository, or the answer is no", func(l *registryLab) {
			b := randomBytes(10_000)
			d := l.pushBlob(l.repo, b)
			l.pushImage(l.repo, "v1")
			to := l.at(l.repo.Host)
			ok, err := l.d.MountBlob(l.ctx, to, d.Digest, l.repo.Name)
			l.NoError(err, "mount")
			if l.env.Mounts && !ok {
				l.Errorf("the registry can mount, and the answer is no")
			}
			if ok {
				l.wantBytes(to, b, 0, "fetch the mounted blob")
			}
			ok, err = l.d.MountBlob(l.ctx, to, digest.FromString("nothing"), l.repo.Name)
			if ok || err != nil && !errdefs.IsNotFound(err) {
				l.Errorf("mount of nothing: %v, error %v", ok, err)
			}
		}},
	}
}
