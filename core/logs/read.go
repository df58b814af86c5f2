package logs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
)

// Read yields the entries of the log at path that the options select, oldest
// first, rotated files included. With Follow it goes on until ctx ends, Until
// has passed, or done is closed and everything written before is read.
//
// The iterator may be used once. An entry's Line is its caller's until the next
// entry.
func Read(ctx context.Context, path string, o Options, done <-chan struct{}) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		r := &reader{path: path, o: o, yield: yield}
		if err := r.run(ctx, done); err != nil && !errors.Is(err, errStop) {
			yield(Entry{}, err)
		}
	}
}

// Snapshot is Read of what the log has when it is called, by the place in the
// files and not by times: clocks are set. It does not follow. The iterator must be
// used, once.
func Snapshot(ctx context.Context, path string, o Options) (iter.Seq2[Entry, error], error) {
	files, err := open(path)
	if err != nil {
		return nil, err
	}
	var end int64
	if len(files) > 0 {
		last, err := files[len(files)-1].Stat()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("log %s: %w", path, err), closeAll(files))
		}
		end = last.Size()
	}
	return func(yield func(Entry, error) bool) {
		r := &reader{path: path, o: o, yield: yield}
		var err error
		for i, f := range files {
			in := io.Reader(f)
			if i == len(files)-1 {
				in = io.LimitReader(f, end)
			}
			if err = r.drain(ctx, f.Name(), in); err != nil {
				break
			}
			r.rest = nil
		}
		if err = errors.Join(err, closeAll(files)); err != nil && !errors.Is(err, errStop) {
			yield(Entry{}, err)
		}
	}, nil
}

// errStop ends a read that is satisfied.
var errStop = errors.New("stop")

type reader struct {
	path  string
	o     Options
	yield func(Entry, error) bool
	// rest is the beginning of a line whose end is not written yet.
	rest []byte
	// text is the memory of the entry that was yielded last.
	text []byte
}

func (r *reader) run(ctx context.Context, done <-chan struct{}) (err error) {
	var w *watcher
	if r.o.Follow && !r.o.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, r.o.Until)
		defer cancel()
	}
	if r.o.Follow { // before the first read, so that no change is missed
		w = watch(r.path)
		defer func() { err = errors.Join(err, w.close()) }()
	}
	files, err := open(r.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(files)) }()
	if r.o.Tail >= 0 {
		if files, err = seekTail(files, r.o.Tail); err != nil {
			return err
		}
	}
	for {
		for len(files) > 1 {
			if err := r.drain(ctx, r.path, files[0]); err != nil {
				return err
			}
			r.rest = nil
			if err := files[0].Close(); err != nil {
				return err
			}
			files = files[1:]
		}
		over := !r.o.Follow || closed(done)
		if len(files) == 1 {
			if err := r.drain(ctx, r.path, files[0]); err != nil {
				return err
			}
		}
		newer, again, err := r.newer(files)
		if err != nil {
			return err
		}
		if files = append(files, newer...); again {
			continue
		}
		if over || ctx.Err() != nil {
			return nil
		}
		w.wait(ctx, done)
	}
}

// newer opens what has been rotated in after the present file. A file that
// was truncated instead is read from its start. again says that there is more
// to read.
func (r *reader) newer(files []*os.File) (more []*os.File, again bool, err error) {
	if len(files) == 0 {
		more, err = open(r.path)
		return more, len(more) > 0, err
	}
	have, err := files[0].Stat()
	if err != nil {
		return nil, false, fmt.Errorf("log %s: %w", r.path, err)
	}
	now, err := os.Stat(r.path)
	if err == nil && os.SameFile(now, have) {
		again, err = r.rewindTruncated(files[0], have.Size())
		return nil, again, err
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, fmt.Errorf("log %s: %w", r.path, err)
	}
	all, err := open(r.path)
	if err != nil {
		return nil, false, err
	}
	for i, f := range all {
		if st, err := f.Stat(); err == nil && os.SameFile(st, have) {
			return all[i+1:], i+1 < len(all), closeAll(all[:i+1])
		}
	}
	return all, len(all) > 0, nil // the present file was rotated out altogether
}

func (r *reader) rewindTruncated(f *os.File, size int64) (done bool, err error) {
	pos, err := f.Seek(0, io.SeekCurrent)
	if err == nil && pos > size {
		r.rest, done = nil, true
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return false, fmt.Errorf("log %s: %w", f.Name(), err)
	}
	return done, nil
}

// drain yields the complete lines up to the end of a file.
func (r *reader) drain(ctx context.Context, name string, file io.Reader) error {
	in := bufio.NewReaderSize(file, block)
	for {
		part, err := in.ReadSlice('\n')
		raw := part
		if err != nil || len(r.rest) > 0 {
			r.rest = append(r.rest, part...)
			raw = r.rest
		}
		switch {
		case err == nil:
			r.rest = r.rest[:0]
			if err := r.emit(ctx, raw); err != nil {
				return err
			}
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil
		default:
			return fmt.Errorf("log %s: read: %w", name, err)
		}
	}
}

func (r *reader) emit(ctx context.Context, raw []byte) error {
	e, text, ok := parse(raw, r.text)
	if r.text = text; !ok {
		return nil
	}
	if r.o.past(e) || ctx.Err() != nil {
		return errStop
	}
	if r.o.wants(e) && !r.yield(e, nil) {
		return errStop
	}
	return nil
}

func closed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}
