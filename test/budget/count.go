package budget

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// tally is what was seen: for each measure the events, in words.
type tally struct {
	processes    []string // executed, by the path of the program
	fsyncs       []string // by file
	transactions []string // of the store
	mounts       []string // and unmounts, by our own programs
	netlink      []string // messages sent, by our own programs
	moves        []move   // of bytes, by our own programs
}

// move is a call that read or wrote bytes.
type move struct {
	by, call, file string
	bytes          int
}

// parser goes through the lines of strace -f -yy. Those of one thread are in
// order; a parent may be told of after its child's first line.
type parser struct {
	program map[int]string // by thread
	parent  map[int]int
	pending map[int]string // the first half of a call
}

// call is one finished, successful system call.
type call struct {
	tid, result int
	name, args  string
}

// count reads all lines, for who is who, and counts those after the first skip.
func count(lines []string, skip int) *tally {
	p := &parser{program: map[int]string{}, parent: map[int]int{}, pending: map[int]string{}}
	calls := make([]*call, len(lines))
	for i, l := range lines {
		calls[i] = p.call(l)
	}
	var before, t tally
	for i, c := range calls {
		switch {
		case c == nil:
		case i < skip:
			p.see(&before, c)
		default:
			p.see(&t, c)
		}
	}
	return &t
}

// call joins the halves of interrupted lines, and notes who is whose child. nil:
// nothing that ended well.
func (p *parser) call(line string) *call {
	head, text, _ := strings.Cut(line, " ")
	tid, err := strconv.Atoi(head)
	if err != nil {
		return nil
	}
	text = strings.TrimSpace(text)
	if first, unfinished := strings.CutSuffix(text, "<unfinished ...>"); unfinished {
		p.pending[tid] = first
		return nil
	}
	if strings.HasPrefix(text, "<... ") {
		_, rest, _ := strings.Cut(text, " resumed>")
		text = p.pending[tid] + rest
		delete(p.pending, tid)
	}
	name, rest, _ := strings.Cut(text, "(")
	at := strings.LastIndex(rest, " = ") // before it strace may align with spaces
	if at < 0 {
		return nil // an exit or a signal
	}
	result, err := strconv.Atoi(leadingNumber(rest[at+len(" = "):]))
	if err != nil {
		return nil // failed, or cut off by the end of its process
	}
	args := strings.TrimRight(strings.TrimSuffix(strings.TrimRight(rest[:at], " "), ")"), " ")
	switch name {
	case "clone", "clone3", "fork", "vfork":
		p.parent[result] = tid
	}
	return &call{tid: tid, name: name, args: args, result: result}
}

func leadingNumber(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		return s
	}
	return s[:end]
}

// of names the program that a thread runs.
func (p *parser) of(tid int) string {
	name, ok := p.program[tid]
	for !ok {
		if tid, ok = p.parent[tid]; !ok {
			return "?"
		}
		name, ok = p.program[tid]
	}
	return name
}

func (p *parser) see(t *tally, c *call) {
	by := p.of(c.tid)
	own := strings.HasPrefix(by, "strake")
	words := fmt.Sprintf("%s: %s(%s)", by, c.name, c.args)
	if own && c.moves() {
		t.moves = append(t.moves, move{by, c.name, opened(c.args), c.result})
	}
	switch c.name {
	case "execve", "execveat":
		file := quoted(c.args)
		if file == "" {
			file = "a copy of itself in memory"
		}
		t.processes = append(t.processes, by+" executes "+file)
		if path.IsAbs(file) && !strings.HasPrefix(file, "/proc/self/") { // another
			p.program[c.tid] = path.Base(file)
		}
	case "fsync", "fdatasync", "sync", "syncfs", "sync_file_range":
		if !grows(c) {
			t.fsyncs = append(t.fsyncs, words)
		}
	case "pwrite64":
		if endsTransaction(c.args) {
			t.transactions = append(t.transactions, words)
		}
	case "mount", "umount2", "move_mount", "mount_setattr":
		if own {
			t.mounts = append(t.mounts, words)
		}
	case "sendto", "sendmsg", "sendmmsg":
		if own && strings.Contains(c.args, "<NETLINK:") {
			t.netlink = append(t.netlink, words)
		}
	}
}

func (c *call) moves() bool {
	return slices.Contains(strings.Split(moving+",sendto,sendmsg,sendmmsg,pwrite64", ","), c.name)
}

// opened is what the first descriptor among the arguments leads to.
func opened(args string) string {
	_, rest, _ := strings.Cut(args, "<")
	file, _, _ := strings.Cut(rest, ">")
	return file
}

// endsTransaction knows a write of one of bbolt's two meta pages.
func endsTransaction(args string) bool {
	return strings.Contains(args, "/strake.db>") && (strings.HasSuffix(args, ", 0") || strings.HasSuffix(args, ", 4096"))
}

// grows knows the one synchronisation with which bbolt makes its file larger, by
// so much that many operations share it; a transaction takes fdatasync.
func grows(c *call) bool { return c.name == "fsync" && strings.HasSuffix(c.args, "/strake.db>") }

// quoted is the first string among the arguments.
func quoted(args string) string {
	_, rest, _ := strings.Cut(args, `"`)
	s, _, _ := strings.Cut(rest, `"`)
	return s
}
