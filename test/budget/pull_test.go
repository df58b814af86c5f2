package budget

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/strakehq/strake/test/testkit"
)

// allowance is for what a pull moves besides layers: manifests, calls, progress,
// records. In bytes.
const allowance = 256 << 10

func TestAPullMovesEachByteAsOftenAsItsBudgetSays(t *testing.T) {
	t.Parallel()
	tr := trace{filepath.Join(t.TempDir(), "strace"), traced + moving}
	h := testkit.Start(t, tr.option())
	b := bench{h, tr, budgets()}
	seen, calls := b.once(t, func() { h.MustStrake("pull", "-q", "nginx") })
	compressed, plain := layerSizes(t, h)

	moved := map[string]int{}
	var all, back int
	for _, m := range seen.moves {
		all += m.bytes
		moved[fmt.Sprintf("%s %s %s", m.by, m.call, kind(m.file))] += m.bytes
		if strings.Contains(m.file, "/content/") && strings.Contains(m.call, "read") {
			back += m.bytes
		}
	}
	most := b.max(pull, packed)*compressed + b.max(pull, unpacked)*plain
	detail := lines(moved)
	t.Logf("%d bytes compressed, %d unpacked, %d moved of %d and %d for the rest\n%s", compressed, plain, all, most, allowance, detail)
	if all > most+allowance {
		t.Errorf("a pull moves %d bytes, its budget is %d:\n%s", all, most, detail)
	}
	b.within(t, pull, map[measure][]string{fsyncs: seen.fsyncs, transactions: seen.transactions, rpcs: calls}, 1)
	if back > b.max(pull, readBack)+allowance {
		t.Errorf("a pull reads %d bytes of what it downloaded from disk again:\n%s", back, detail)
	}
}

// kind tells files and sockets apart.
func kind(file string) string {
	switch {
	case strings.Contains(file, "/content/"):
		return "blob"
	case strings.HasPrefix(file, "/"):
		return "file"
	default:
		k, _, _ := strings.Cut(file, ":")
		return k
	}
}

func lines(moved map[string]int) string {
	var l []string
	for what, n := range moved {
		l = append(l, fmt.Sprintf("%12d %s", n, what))
	}
	slices.Sort(l)
	return strings.Join(l, "\n")
}

// layerSizes adds up the layers of the image that the test pulls.
func layerSizes(t *testing.T, h *testkit.Host) (compressed, plain int) {
	t.Helper()
	ref, err := name.ParseReference(h.Registry+"/library/nginx", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref, remote.WithTransport(&http.Transport{DialContext: h.Namespace().DialContext}))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		n, err := size(l)
		if err != nil {
			t.Fatal(err)
		}
		size, err := l.Size()
		if err != nil {
			t.Fatal(err)
		}
		compressed, plain = compressed+int(size), plain+n
	}
	return compressed, plain
}

func size(l v1.Layer) (int, error) {
	r, err := l.Uncompressed()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	return int(n), err
}
