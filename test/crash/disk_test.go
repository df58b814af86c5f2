package crash

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// checkDisk compares directories, snapshots and blobs with the containers and
// images. What may stay for a while, blobs of a pull that failed, is in the
// snapshot that it returns.
func (w *world) checkDisk(all map[string]container) (s snapshot, wrong []string) {
	ids, alive := map[string]bool{}, map[string]bool{}
	for id, c := range all {
		ids[id] = true
		if c.alive() {
			alive[id] = true
		}
	}
	run, state := w.h.Dir+"/run", w.h.Dir+"/state"
	wrong = append(wrong, differ("directory", listed(state+"/containers"), ids)...)
	wrong = append(wrong, differ("attachment", trimmed(listed(run+"/network"), ".json"), alive)...)
	wrong = append(wrong, differ("runtime directory", listed(run+"/drivers/runtime-runc/c"), alive)...)
	wrong = append(wrong, differ("state of runc", listed(run+"/drivers/runtime-runc/oci/runc"), alive)...)
	volumes := w.volumes()
	for v := range listed(state + "/volumes") {
		if !slices.Contains(volumes, v) {
			wrong = append(wrong, "volume directory without a record: "+v)
		}
	}
	snapshots, more := w.snapshots(ids)
	wrong = append(wrong, more...)
	s.records = slices.Concat(snapshots, w.blobs(&wrong))
	return s, wrong
}

func trimmed(names map[string]bool, suffix string) map[string]bool {
	out := map[string]bool{}
	for n := range names {
		out[strings.TrimSuffix(n, suffix)] = true
	}
	return out
}

// snapshots reads the storage driver's records. Those of containers must be
// theirs; the rest is returned.
func (w *world) snapshots(ids map[string]bool) (rest, wrong []string) {
	root := w.h.Dir + "/state/drivers/storage-overlay"
	have := map[string]bool{}
	for dir := range listed(root + "/snapshots") {
		text, err := os.Readlink(filepath.Join(root, "snapshots", dir, "record"))
		var r struct{ Key, Kind string }
		if err == nil {
			err = json.Unmarshal([]byte(text), &r)
		}
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("snapshot %s: %v", dir, err))
			continue
		}
		if id, ok := strings.CutPrefix(r.Key, "ctr-"); ok {
			have[id] = true
		} else {
			rest = append(rest, "snapshot "+r.Key+" "+r.Kind)
		}
	}
	for t := range listed(root + "/trash") {
		wrong = append(wrong, "trash: "+t)
	}
	return rest, append(wrong, differ("snapshot", have, ids)...)
}

// blobs lists the content store and checks every blob's digest once.
func (w *world) blobs(wrong *[]string) (out []string) {
	for _, area := range []string{"blobs", "staged"} {
		files, err := filepath.Glob(w.h.Dir + "/state/content/" + area + "/sha256/*")
		if err != nil {
			w.t.Fatal(err)
		}
		for _, f := range files {
			out = append(out, area+" "+filepath.Base(f))
			if err := whole(f); err != nil && !os.IsNotExist(err) {
				*wrong = append(*wrong, err.Error())
			}
		}
	}
	for i := range listed(w.h.Dir + "/state/content/ingest") {
		out = append(out, "ingest "+i)
	}
	for i := range listed(w.h.Dir + "/state/leases") {
		out = append(out, "lease "+i)
	}
	return out
}

// whole checks a blob's digest.
func whole(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != filepath.Base(file) {
		return fmt.Errorf("blob %s has digest %s", file, got)
	}
	return nil
}
