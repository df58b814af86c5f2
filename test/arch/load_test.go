package arch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/strakehq/strake"

// pkg is what "go list -json" says of a package.
type pkg struct {
	ImportPath   string
	Dir          string
	Doc          string
	Standard     bool
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
	Module       *struct{ Path string }
}

// path is the package's import path within the module: "core/engine".
func (p pkg) path() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// tree lists the packages of this module, once.
var tree = sync.OnceValues(func() ([]pkg, error) { return list("./...") })

func inTree(t *testing.T) []pkg {
	t.Helper()
	all, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// list runs go list.
func list(args ...string) ([]pkg, error) {
	cmd := exec.CommandContext(context.Background(), "go", append([]string{"list", "-json=ImportPath,Dir,Doc,Standard,GoFiles,Imports,TestImports,XTestImports,Deps,Module"}, args...)...)
	cmd.Dir = "../.."
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %v: %w\n%s", args, err, &errOut)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
		all = append(all, p)
	}
}
