package isolation

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/test/testkit"
)

// lure is an image that wants the engine or the OCI runtime to follow it out of
// the container's root. Links may lead to HOST, a directory of the host.
type lure struct {
	links map[string]string // by name in the layer; a link to "" is a device that never ends
	// workdir and volume are of the image's configuration.
	workdir, volume string
	flags           []string
	// line is run by a shell in the container; when the container is not refused,
	// its output begins with want.
	line, want string
}

// procfs looks whether /proc is one, with Docker's masks.
const procfs = `test -e /proc/self/status && head -c 1 /proc/kcore | wc -c && ! echo h > /proc/sysrq-trigger && echo masked`

// masked ends with code 9 unless a masked path shows nothing. Where /dev/null is not
// what it should be, crun has the output go there.
const masked = `test -e /proc/keys && test -z "$(head -c 1 /proc/keys)" || exit 9`

func lures() map[string]lure {
	return map[string]lure{
		"CVE-2019-19921-proc-is-a-link":             {links: map[string]string{"proc": "HOST"}, line: procfs, want: "0\nmasked"},
		"CVE-2023-27561-proc-is-a-relative-link":    {links: map[string]string{"proc": "../../../../../../..HOST"}, line: procfs, want: "0\nmasked"},
		"CVE-2023-28642-sys-is-a-link":              {links: map[string]string{"sys": "HOST"}, line: "touch /sys/kernel/x 2>/dev/null || echo read-only", want: "read-only"},
		"CVE-2019-16884-a-volume-over-proc":         {volume: "/proc", line: "ls /proc/self/status 2>&1", want: "ls: "}, // none, and no masks to miss
		"CVE-2026-41579-dev-is-a-link":              {links: map[string]string{"dev": "HOST"}, line: "echo x > /dev/null && echo null", want: "null"},
		"CVE-2025-52565-console-is-a-link":          {links: map[string]string{"dev/console": "HOST/witness", "dev/null": "HOST/witness"}, flags: []string{"-t"}, line: "echo x > /dev/null; echo terminal > /dev/console", want: "terminal"},
		"CVE-2025-31133-null-of-a-volume":           {links: map[string]string{"dev/null": "/etc/passwd"}, volume: "/dev", line: masked},
		"CVE-2025-31133-null-of-a-volume-at-a-link": {links: map[string]string{"dev/null": "/etc/passwd", "at": "dev"}, volume: "/at", line: masked},
		"CVE-2026-55686-workdir-is-a-link":          {links: map[string]string{"work": "HOST"}, workdir: "/work/made", line: "pwd", want: "HOST/made"},
		"CVE-2019-18837-destination-is-a-link":      {links: map[string]string{"data": "../../../../../../..HOST"}, flags: []string{"-v", "vol:/data/made"}, line: "ls -d HOST/made", want: "HOST/made"},
		"CVE-2024-9341-hosts-is-a-link":             {links: map[string]string{"etc/hosts": "HOST/witness", "etc/resolv.conf": "HOST/made", "etc/hostname": "HOST/witness"}, line: "grep -c localhost /etc/hosts", want: ""},
		"CVE-2026-47262-group-never-ends":           {links: map[string]string{"etc/group": "", "etc/passwd": ""}, flags: []string{"--user", "somebody:some"}, line: "id", want: "nobody can be"},
	}
}

// build pushes the image and returns its name.
func (l lure) build(t *testing.T, h *testkit.Host, repository, host string) string {
	t.Helper()
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for from, to := range l.links {
		e := &tar.Header{Typeflag: tar.TypeSymlink, Name: from, Linkname: strings.ReplaceAll(to, "HOST", host)}
		if to == "" {
			e = &tar.Header{Typeflag: tar.TypeChar, Name: from, Mode: 0o666, Devmajor: 1, Devminor: 5} // /dev/zero
		}
		if err := w.WriteHeader(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	added, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	through := remote.WithTransport(h.HTTP().Transport)
	ref := func(s string) name.Reference {
		r, err := name.ParseReference(h.Registry+"/"+s, name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	base, err := remote.Image(ref("library/busybox"), through, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(base, added)
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.Config.WorkingDir = l.workdir
	if l.volume != "" {
		file.Config.Volumes = map[string]struct{}{l.volume: {}}
	}
	if img, err = mutate.ConfigFile(img, file); err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref(repository), img, through); err != nil {
		t.Fatal(err)
	}
	return h.Registry + "/" + repository
}

// Images whose files and configuration lead out of their root: a container is
// refused, or it has what every other has, and nothing of the host is changed.
func TestNoImageLeadsToTheHost(t *testing.T) {
	h := testkit.Start(t, testkit.WithCrun(), testkit.WithConfig(crun))
	host := filepath.Join(h.Dir, "host")
	witness := filepath.Join(host, "witness")
	if err := os.Mkdir(host, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(witness, []byte("the host's"), 0o666); err != nil {
		t.Fatal(err)
	}
	for what, l := range lures() {
		image := l.build(t, h, strings.ToLower(what), host)
		for _, rt := range []string{"runc", "crun"} {
			began := time.Now()
			args := append(append([]string{"run", "--rm", "--runtime", rt}, l.flags...), image, "sh", "-c", strings.ReplaceAll(l.line, "HOST", host))
			r := h.Docker(args...)
			out := strings.TrimSpace(strings.ReplaceAll(r.Stdout, "\r", ""))
			want := strings.ReplaceAll(l.want, "HOST", host)
			switch {
			case r.Code >= 125:
				_, why, _ := strings.Cut(r.Stderr, "Error response from daemon: ")
				why, _, _ = strings.Cut(why, "\n")
				t.Logf("%s, %s: refused: %s", what, rt, why)
			case r.Code == 9 || !strings.HasPrefix(out, want):
				t.Errorf("%s, %s: code %d %q, want %q", what, rt, r.Code, out, want)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("%s, %s: took %s", what, rt, took)
			}
			files, err := os.ReadDir(host)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := os.ReadFile(witness); len(files) != 1 || err != nil || string(text) != "the host's" {
				t.Errorf("%s, %s: the host is changed: %v %q %v", what, rt, files, text, err)
			}
		}
	}
	if used := peak(t, h.Pid()); used > 256<<10 {
		t.Errorf("the daemon has used %d KiB", used)
	}
}

// peak is the most memory that a process had, in KiB.
func peak(t *testing.T, pid int) (kib int) {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}

// What a container is given of the host is not changed for that, and it has no
// IPv6 address that nobody asked for.
func TestNothingIsGivenOrRelabelledThatNobodyAskedFor(t *testing.T) {
	h := testkit.Start(t)
	dir := filepath.Join(h.Dir, "bound")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	const label = "a label of the host's"
	if err := unix.Setxattr(dir, "security.strake-test", []byte(label), 0); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	addresses := h.MustDocker("run", "--rm", "-v", dir+":/z:z", "-v", dir+":/Z:Z", "busybox", "cat", "/proc/net/if_inet6")
	for line := range strings.Lines(addresses) {
		if !strings.HasSuffix(strings.TrimSpace(line), " lo") {
			t.Errorf("an IPv6 address: %s", line)
		}
	}
	names := make([]byte, 1024)
	n, err := unix.Listxattr(dir, names)
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(names[:n]); got != "security.strake-test\x00" || after.Mode() != before.Mode() {
		t.Errorf("a bound directory has mode %s and attributes %q, had %s and one", after.Mode(), got, before.Mode())
	}
}
