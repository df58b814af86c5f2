package conformance

import (
	"net"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/runtime"
)

func streamCases() []runtimeCase {
	return []runtimeCase{
		{"a client attached before Start gets all output by stream, then the end", attachBefore},
		{"clients get what they asked for, all the same", attachSeveral},
		{"a socket serves one connection", attachOnce},
		{"a slow client holds the process and loses nothing, not even after its exit", attachSlow},
		{"a client that vanished holds nobody", attachVanished},
		{"input reaches the process until CloseStdin, from one client after another", stdinOpen},
		{"with StdinOnce input ends with the first client's", stdinOnce},
		{"without Stdin input is at its end", stdinNone},
		{"a terminal echoes, has a size and is resized", terminal},
		{"what is typed before Start waits for the process", typedBefore},
		{"attach to a stopped container is a failed precondition", attachStopped},
	}
}

var (
	outputs = runtime.StreamSet{Stdout: true, Stderr: true}
	streams = runtime.StreamSet{Stdin: true, Stdout: true, Stderr: true}
)

func attachBefore(l *runtimeLab) {
	b := l.create(box{script: `echo out; sleep 0.1; echo err >&2; sleep 0.1; printf end`})
	c := l.attach(b, "", outputs, false)
	_, err := l.d.Start(l.ctx, b.id)
	l.NoError(err, "start")
	c.expect(1, "out\n")
	c.expect(2, "err\n")
	c.expect(1, "end")
	c.end()
	l.wait(b, "")
}

func attachSeveral(l *runtimeLab) {
	b := l.create(box{script: `seq 1 3000; echo err >&2; seq 3001 6000`})
	all := []*client{l.attach(b, "", runtime.StreamSet{Stdout: true}, false), l.attach(b, "", runtime.StreamSet{Stdout: true}, false)}
	errs := l.attach(b, "", runtime.StreamSet{Stderr: true}, false)
	_, err := l.d.Start(l.ctx, b.id)
	l.NoError(err, "start")
	want := numbers(1, 6000)
	for _, c := range all {
		c.expect(1, want)
		c.end()
	}
	errs.expect(2, "err\n")
	errs.end()
	l.wait(b, "")
}

func numbers(from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		b.WriteString(itoa(i))
		b.WriteByte('\n')
	}
	return b.String()
}

func attachOnce(l *runtimeLab) {
	b := l.run(box{script: `sleep 1000`})
	path, err := l.d.Attach(l.ctx, b.id, "", outputs)
	l.NoError(err, "attach")
	l.connect(path, false)
	eventually(l.T, 5*time.Second, "a second connection is refused", func() error {
		c, err := net.Dial("unix", path) //nolint:noctx // answered or refused at once
		if err != nil {
			return nil //nolint:nilerr // as it should be
		}
		return errorAfter(c.Close(), "connected")
	})
}

func attachSlow(l *runtimeLab) {
	const size = 4 << 20
	b := l.create(box{script: `yes | head -c 4194304; echo done > /tmp/done`, nolog: true})
	c := l.attach(b, "", outputs, false)
	_, err := l.d.Start(l.ctx, b.id)
	l.NoError(err, "start")
	c.expect(1, "y\n")
	time.Sleep(200 * time.Millisecond) // long enough to write it all if nobody held it
	l.status(b, runtime.Running)
	c.expect(1, strings.Repeat("y\n", size/2-1-50000)) // what is left now fits into the buffers
	l.wait(b, "")
	c.expect(1, strings.Repeat("y\n", 50000))
	c.end()
}

func attachVanished(l *runtimeLab) {
	b := l.create(box{script: `yes 0123456789012345678901234567890123456789 | head -n 50000; echo done`})
	for range 3 {
		l.attach(b, "", streams, false).close()
	}
	c := l.attach(b, "", outputs, false)
	_, err := l.d.Start(l.ctx, b.id)
	l.NoError(err, "start")
	c.expect(1, "0123456789")
	c.close()
	if e := l.wait(b, ""); e.Code != 0 {
		l.Errorf("exit: %+v", e)
	}
	all := l.log(b.io.Log.Path)
	if n := len(all); n < 2 || all[n-1].Log != "done\n" {
		l.Errorf("the log has %d lines and not the last", n)
	}
}

func stdinOpen(l *runtimeLab) {
	b := l.run(box{script: `cat; echo end`, io: runtime.IO{Stdin: true}})
	for _, text := range []string{"first\n", "second\n"} {
		c := l.attach(b, "", streams, false)
		c.send(text)
		c.expect(1, text)
		c.closeWrite()
		c.silent(50 * time.Millisecond)
		c.close()
	}
	c := l.attach(b, "", outputs, false)
	for range 2 {
		l.NoError(l.d.CloseStdin(l.ctx, b.id, ""), "close stdin")
	}
	c.expect(1, "end\n")
	l.wait(b, "")
}

func stdinOnce(l *runtimeLab) {
	b := l.run(box{script: `cat; echo end`, io: runtime.IO{Stdin: true, StdinOnce: true}})
	c := l.attach(b, "", streams, false)
	c.send("text\n")
	c.closeWrite()
	c.expect(1, "text\nend\n")
	c.end()
	l.wait(b, "")
}

func stdinNone(l *runtimeLab) {
	b := l.run(box{script: `cat; exit 5`})
	if e := l.wait(b, ""); e.Code != 5 {
		l.Errorf("exit: %+v", e)
	}
}

func terminal(l *runtimeLab) {
	b := l.create(box{
		script: `stty size; read a; stty size; echo "got $a"; test -t 0 && test -t 1 && test -t 2 && exit 3`,
		io:     runtime.IO{Terminal: true, Stdin: true, Width: 90, Height: 30},
	})
	c := l.attach(b, "", streams, true)
	_, err := l.d.Start(l.ctx, b.id)
	l.NoError(err, "start")
	c.expect(0, "30 90\r\n")
	l.NoError(l.d.Resize(l.ctx, b.id, "", 101, 41), "resize")
	c.send("word\n")
	c.expect(0, "word\r\n41 101\r\ngot word\r\n")
	c.end()
	if e := l.wait(b, ""); e.Code != 3 {
		l.Errorf("exit: %+v", e)
	}
	plain := l.run(box{script: "sleep 1000"})
	l.ErrorIs(l.d.Resize(l.ctx, plain.id, "", 80, 24), errdefs.ErrFailedPrecondition, "resize without a terminal")
}

// typedBefore types what would interrupt a process that is not the container's.
// That one may take the interrupt or be too young for it, but it must be there.
func typedBefore(l *runtimeLab) {
	const interrupted = 130
	b := l.create(box{script: "read line; echo got $line", io: runtime.IO{Terminal: true, Stdin: true}})
	c := l.attach(b, "", streams, true)
	c.send("\x03hello\n")
	time.Sleep(50 * time.Millisecond) // long enough for whoever is there to be hit
	l.status(b, runtime.Created)
	_, err := l.d.Start(l.ctx, b.id)
	l.NoError(err, "start")
	if e := l.wait(b, ""); e.Code != 0 && e.Code != interrupted {
		l.Errorf("exit: %+v", e)
	}
}

func attachStopped(l *runtimeLab) {
	b := l.run(box{script: "true"})
	l.wait(b, "")
	_, err := l.d.Attach(l.ctx, b.id, "", outputs)
	l.ErrorIs(err, errdefs.ErrFailedPrecondition, "attach")
}
