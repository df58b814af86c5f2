package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/strakehq/strake/sdk/runtime"
)

func logCases() []runtimeCase {
	return []runtimeCase{
		{"the log has every line, by stream, with its time", logLines},
		{"lines beyond 16 KiB are logged in pieces", logPieces},
		{"a full log is rotated, and the given number of files kept", logRotation},
		{"a terminal's output is logged as it is", logTerminal},
		{"output with many readers of none is only logged", logManyLines},
	}
}

// logEntry is a line of a log file.
type logEntry struct {
	Log, Stream string
	Time        time.Time
	Attrs       map[string]string
}

// log reads a log file. A last line that is still being written is left out.
func (l *runtimeLab) log(path string) (all []logEntry) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	l.NoError(err, "read log")
	for line := range bytes.Lines(b[:bytes.LastIndexByte(b, '\n')+1]) {
		var e logEntry
		if err := json.Unmarshal(line, &e); err != nil {
			l.Fatalf("log line %q: %w", line, err)
		}
		all = append(all, e)
	}
	return all
}

// until waits for a line in the log.
func (l *runtimeLab) until(b *box, line string) {
	eventually(l.T, 20*time.Second, "log has "+line, func() error {
		for _, e := range l.log(b.io.Log.Path) {
			if strings.TrimSpace(e.Log) == line {
				return nil
			}
		}
		return errors.New("not there")
	})
}

// logIs compares the log with lines of "stream: text".
func (l *runtimeLab) logIs(b *box, want ...string) {
	var got []string
	for _, e := range l.log(b.io.Log.Path) {
		got = append(got, e.Stream+": "+e.Log)
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		l.Errorf("log is %.2000q, want %.2000q", got, want)
	}
}

func logLines(l *runtimeLab) {
	begin := time.Now()
	b := l.run(box{
		script: `echo one; cat /etc/plain; echo "a<b>\"c\"" ; sleep 0.1; echo oops >&2; sleep 0.1; printf end`,
		io:     runtime.IO{Log: runtime.Log{Attrs: map[string]string{"label": "x"}}},
	})
	l.wait(b, "")
	l.logIs(b, "stdout: one\n", "stdout: plain\n", "stdout: a<b>\"c\"\n", "stderr: oops\n", "stdout: end")
	for _, e := range l.log(b.io.Log.Path) {
		if e.Time.Before(begin) || e.Time.After(time.Now()) {
			l.Errorf("time of %q is %s", e.Log, e.Time)
		}
		if e.Attrs["label"] != "x" {
			l.Errorf("attributes of %q are %v", e.Log, e.Attrs)
		}
	}
}

func logPieces(l *runtimeLab) {
	b := l.run(box{script: `head -c 40000 /dev/zero | tr '\0' x; echo; echo after`, args: nil})
	l.wait(b, "")
	piece := strings.Repeat("x", 16384)
	l.logIs(b, "stdout: "+piece, "stdout: "+piece, "stdout: "+strings.Repeat("x", 40000-2*16384)+"\n", "stdout: after\n")
}

func logRotation(l *runtimeLab) {
	b := l.run(box{script: `seq 1 5000`, io: runtime.IO{Log: runtime.Log{MaxSize: 20000, MaxFiles: 3}}})
	l.wait(b, "")
	path := b.io.Log.Path
	var all []logEntry
	for _, p := range []string{path + ".2", path + ".1", path} {
		if st, err := os.Stat(p); err != nil || st.Size() > 21000 {
			l.Errorf("%s: %v", p, err)
		}
		all = append(all, l.log(p)...)
	}
	if _, err := os.Stat(path + ".3"); err == nil {
		l.Errorf("more files than asked for")
	}
	for i, e := range all {
		if want := fmt.Sprintf("%d\n", 5000-len(all)+1+i); e.Log != want {
			l.Fatalf("entry %d is %q, want %q", i, e.Log, want)
		}
	}
}

func logTerminal(l *runtimeLab) {
	b := l.run(box{script: `echo one; echo two >&2`, io: runtime.IO{Terminal: true}})
	l.wait(b, "")
	l.logIs(b, "stdout: one\r\n", "stdout: two\r\n")
}

func logManyLines(l *runtimeLab) {
	b := l.run(box{script: `seq 1 20000`})
	l.wait(b, "")
	l.counts(b, 20000)
}

// counts checks that the log is the numbers from 1 to n, whole and in order.
func (l *runtimeLab) counts(b *box, n int) {
	all := l.log(b.io.Log.Path)
	for i, e := range all {
		if e.Log != fmt.Sprintf("%d\n", i+1) {
			l.Fatalf("entry %d is %q", i+1, e.Log)
		}
	}
	if len(all) != n {
		l.Fatalf("%d entries, want %d", len(all), n)
	}
}
