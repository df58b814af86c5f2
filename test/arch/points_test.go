package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/strakehq/strake/sdk/mishap"
)

// A point that is listed and in no program would be counted as covered by the
// crash tests without ever acting; one that is not listed would never be armed.
func TestEveryPointIsInAProgramAndListed(t *testing.T) {
	listed := map[string]bool{}
	for _, p := range mishap.All() {
		listed[string(p)] = true
	}
	used := usesOfPoints(t)
	for name, value := range constants(t) {
		if !listed[value] {
			t.Errorf("mishap.%s is not among mishap.All", name)
		}
		if used[name] == 0 {
			t.Errorf("mishap.%s is in no program", name)
		}
	}
}

// Each table of the daemon's records has points in its transactions.
func TestEveryTableHasPoints(t *testing.T) {
	all := strings.Builder{}
	for _, p := range mishap.All() {
		all.WriteString(string(p) + "\n")
	}
	found := 0
	each(t, "../../core", func(_, text string) {
		for _, part := range strings.Split(text, "store.NewTable[")[1:] {
			_, rest, _ := strings.Cut(part, `("`)
			table, _, _ := strings.Cut(rest, `"`)
			found++
			if !strings.Contains(all.String(), "store."+table+".before\n") {
				t.Errorf("table %q has no points: list it in sdk/mishap", table)
			}
		}
	})
	if found < 5 {
		t.Errorf("only %d tables found", found)
	}
}

// constants are the points by the name of their constant.
func constants(t *testing.T) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../../sdk/mishap/mishap.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := v.Type.(*ast.Ident); ok && kind.Name == "Point" {
			value, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found[v.Names[0].Name] = value
		}
		return true
	})
	if len(found) < 50 {
		t.Fatalf("only %d constants found", len(found))
	}
	return found
}

func usesOfPoints(t *testing.T) map[string]int {
	t.Helper()
	used := map[string]int{}
	for _, dir := range []string{"../../core", "../../plugins", "../../sdk", "../../cmd"} {
		each(t, dir, func(path, text string) {
			for _, part := range strings.Split(text, "mishap.Hit(mishap.")[1:] {
				name, _, _ := strings.Cut(part, ")")
				used[name]++
			}
		})
	}
	return used
}

// each calls f with every program's source below dir.
func each(t *testing.T, dir string, f func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		f(path, string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
