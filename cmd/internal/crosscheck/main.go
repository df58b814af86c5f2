// Crosscheck type-checks the packages that match patterns, and all that they
// import, for the architecture that CROSS names. That is nearly all that compiling
// for it would find, in a tenth of the time.
//
//	CROSS=arm64 crosscheck ./...
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// listed is what go list says of a package.
type listed struct {
	ImportPath, Dir string
	GoFiles         []string
	ImportMap       map[string]string
	Standard        bool
	Module          *struct{ GoVersion string }
}

func main() {
	if err := check(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "crosscheck:", err)
		os.Exit(1)
	}
}

func check(patterns []string) error {
	arch := os.Getenv("CROSS")
	sizes := types.SizesFor("gc", arch)
	if sizes == nil {
		return fmt.Errorf("CROSS=%q: no such architecture", arch)
	}
	cmd := exec.Command("go", append([]string{"list", "-deps", "-json=ImportPath,Dir,GoFiles,ImportMap,Standard,Module", "--"}, patterns...)...) //nolint:noctx // ends with us
	cmd.Env = append(os.Environ(), "GOARCH="+arch, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	done := map[string]*types.Package{"unsafe": types.Unsafe}
	var found []error
	d := json.NewDecoder(out)
	for { // go list names packages after those that they import
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return errors.Join(err, cmd.Wait())
		}
		if p.ImportPath != "unsafe" {
			found = append(found, p.check(done, sizes)...)
		}
	}
	return errors.Join(append(found, cmd.Wait())...)
}

// check checks one package, of the standard library the declarations alone.
func (p *listed) check(done map[string]*types.Package, sizes types.Sizes) (found []error) {
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return []error{err}
		}
		files = append(files, f)
	}
	conf := types.Config{
		Sizes: sizes, IgnoreFuncBodies: p.Standard, FakeImportC: true,
		Importer: importer(func(path string) (*types.Package, error) {
			if mapped, ok := p.ImportMap[path]; ok {
				path = mapped
			}
			if pkg := done[path]; pkg != nil {
				return pkg, nil
			}
			return nil, fmt.Errorf("%s was not listed", path)
		}),
		Error: func(err error) { found = append(found, err) },
	}
	if p.Module != nil && p.Module.GoVersion != "" {
		conf.GoVersion = "go" + p.Module.GoVersion
	}
	done[p.ImportPath], _ = conf.Check(p.ImportPath, fset, files, nil) // Error has heard of all
	return found
}

type importer func(path string) (*types.Package, error)

func (f importer) Import(path string) (*types.Package, error) { return f(path) }
