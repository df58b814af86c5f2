package conformance

import (
	"archive/tar"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

func hostileLayerCases() []storageCase {
	var cases []storageCase
	for _, h := range []struct {
		name    string
		entries func(outside string) []entry
	}{
		{"by names with ..", climbing},
		{"by absolute names", func(out string) []entry { return []entry{file(out+"/new", ""), directory(out+"/dir", 0)} }},
		{"through absolute symbolic links", func(out string) []entry {
			return []entry{symlink("l", out), file("l/new", ""), file("l/canary", "written")}
		}},
		{"through symbolic links with ..", func(out string) []entry {
			return []entry{symlink("l", strings.Repeat("../", 40)+out[1:]), file("l/canary", "written")}
		}},
		{"through chains of links", func(out string) []entry {
			return []entry{symlink("a", "b"), symlink("b", "c/.."), symlink("c", out+"/dir"), file("a/canary", "written")}
		}},
		{"by writing through a link", func(out string) []entry { return []entry{symlink("f", out+"/canary"), file("f", "written")} }},
		{"by hard links to absolute names", func(out string) []entry {
			return []entry{hardlink("h", out+"/canary"), file("h", "written")}
		}},
		{"by hard links with ..", func(out string) []entry {
			return []entry{hardlink("h", strings.Repeat("../", 40)+out[1:]+"/canary"), file("h", "written")}
		}},
		{"by hard links through links", func(out string) []entry {
			return []entry{symlink("l", out), hardlink("h", "l/canary"), file("h", "written")}
		}},
		{"by hard links to links", func(out string) []entry {
			mode := hardlink("h", "l")
			mode.Mode, mode.Uid = 0o4777, 1
			return []entry{symlink("l", out+"/canary"), mode, file("h", "written")}
		}},
		{"by metadata of a link", func(out string) []entry {
			l := symlink("l", out+"/canary")
			l.Mode, l.Uid = 0o4777, 1
			l.PAXRecords = map[string]string{"SCHILY.xattr.user.x": "y", "SCHILY.xattr.trusted.x": "y"}
			return []entry{l}
		}},
		{"by a directory over a link", func(out string) []entry {
			return []entry{symlink("l", out), directory("l/", 0o4777), file("l/canary", "written")}
		}},
		{"by whiteouts through links", func(out string) []entry {
			return []entry{symlink("l", out), file("l/.wh.canary", ""), file("l/.wh.dir", "")}
		}},
		{"by opaque marks through links", func(out string) []entry { return []entry{symlink("l", out), file("l/.wh..wh..opq", "")} }},
		{"by a whiteout of a link", func(out string) []entry {
			return []entry{symlink("l", out), file(".wh.l", ""), file("l/canary", "written")}
		}},
		{"by a parent that becomes a link", func(out string) []entry {
			return []entry{directory("d/", 0o755), file("d/f", ""), symlink("d", out), file("d/canary", "written"), directory("d/dir/", 0o4777)}
		}},
		{"by a parent's parent that becomes a link", func(out string) []entry {
			return []entry{file("d/e/f", ""), symlink("d", out+"/.."), file("d/e/g", ""), hardlink("d/e/canary", "d/e/g")}
		}},
		{"by the time of a directory that became a link", func(out string) []entry {
			return []entry{directory("d/", 0o755), symlink("d", out)}
		}},
		{"through /proc", func(out string) []entry {
			return []entry{symlink("l", "/proc/self/root"+out), file("l/canary", "written"), symlink("m", "/proc/self/cwd"), file("m/f", "")}
		}},
		{"by device nodes that replace files", func(out string) []entry {
			return []entry{symlink("l", out), node("l/canary", tar.TypeChar, 1, 3), node("l/fifo", tar.TypeFifo, 0, 0)}
		}},
	} {
		cases = append(cases, storageCase{"a layer does not get out " + h.name, func(l *storageLab) { l.confined(h.entries) }})
	}
	return append(cases, storageCase{"a layer that nests without end harms nobody", nesting})
}

func climbing(out string) []entry {
	up := strings.Repeat("../", 40)
	return []entry{
		file("a/../../"+up+out[1:]+"/new", ""), file(up+out[1:]+"/canary", "written"),
		directory("..", 0o4777), file("a/..", ""), symlink("../l", "x"), file("../.wh.canary", ""),
	}
}

// confined applies each entry and all of them together, over nothing and over a
// layer that has the same link already, and wants the directory outside to
// stay as it is. Whether the layer is refused or kept inside is the driver's
// choice.
func (l *storageLab) confined(entries func(outside string) []entry) {
	outside := l.TempDir()
	l.NoError(write(outside, "canary", "sings"), "make the canary")
	l.NoError(write(outside, "dir/inner", ""), "make the canary")
	before, err := fingerprint(outside)
	l.NoError(err, "look at the canary")
	all := entries(outside)
	for i := range all {
		l.attempt(all[i : i+1])
	}
	l.attempt(all)
	l.layer("lower", "", archived(l, symlink("l", outside), symlink("d", outside), symlink("h", outside+"/canary")))
	if err := l.tryLayer("upper", "lower", archived(l, all...)); err != nil {
		l.Logf("refused: %v", err)
	}
	after, err := fingerprint(outside)
	l.NoError(err, "look at the canary")
	l.NoError(sameTree(after, before), "the layer got out")
}

func (l *storageLab) attempt(entries []entry) {
	key := l.fresh("hostile")
	if err := l.tryLayer(key, "", archived(l, entries...)); err != nil {
		l.Logf("refused: %v", err)
		return
	}
	l.look(key, func(string) error { return nil })
}

// fingerprint is scan with times of change, which tell everything.
func fingerprint(dir string) (map[string]string, error) {
	tree, err := scan(dir)
	if err != nil {
		return nil, err
	}
	for name := range tree {
		var st unix.Stat_t
		if err := unix.Lstat(dir+"/"+name, &st); err != nil {
			return nil, err
		}
		tree[name] += fmt.Sprintf(" changed %d.%09d links %d", st.Ctim.Sec, st.Ctim.Nsec, st.Nlink)
	}
	return tree, nil
}

// nesting goes deeper than any path may be long, by way of links.
func nesting(l *storageLab) {
	run := strings.Repeat("d/", 750)
	entries := []entry{directory(run, 0o755)}
	prev := run
	for i := range 2 {
		link := fmt.Sprintf("l%d", i)
		entries = append(entries, symlink(link, prev), directory(link+"/"+run, 0o755), file(link+"/"+run+"f", ""))
		prev = link + "/" + run
	}
	if err := l.tryLayer("deep", "", archived(l, entries...)); err != nil {
		l.Logf("refused: %v", err)
		return
	}
	_, err := l.d.Usage(l.ctx, "deep")
	l.NoError(err, "usage of a deep tree")
	l.NoError(l.d.Remove(l.ctx, "deep"), "remove a deep tree")
	_, err = l.d.Collect(l.ctx, nil)
	l.NoError(err, "collect")
}
