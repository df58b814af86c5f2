// Combine links the daemon and its drivers into one program with a hard link for
// each name, whose text all five processes share: for small machines. Their main
// packages are compiled as they are, under another name, by the compiler's
// -overlay; nothing in the tree knows of it.
//
//	combine -o DIR -- [flags of go build]
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// module is the import path of the tree in the working directory.
const module = "github.com/strakehq/strake"

// program is a name, and the main package behind it.
type program struct{ name, pkg string }

// programs are in a fixed order, for builds that are the same each time.
func programs() []program {
	return []program{
		{"straked", "cmd/straked"},
		{"strake-storage-overlay", "plugins/storage-overlay"},
		{"strake-runtime-runc", "plugins/runtime-runc"},
		{"strake-net-bridge", "plugins/net-bridge"},
		{"strake-registry-http", "plugins/registry-http"},
	}
}

func main() {
	out := flag.String("o", "bin", "directory for the program and its links")
	flag.Parse()
	if err := run(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "combine:", err)
		os.Exit(1)
	}
}

func run(out string, flags []string) (err error) {
	dir, err := os.MkdirTemp("", "strake-combine-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	o := overlay{dir: dir, Replace: map[string]string{}}
	for _, p := range programs() {
		if err := o.rename(p.pkg); err != nil {
			return err
		}
	}
	const main = "cmd/combined"
	if err := o.add(main+"/main.go", []byte(dispatcher())); err != nil {
		return err
	}
	list, err := o.write()
	if err != nil {
		return err
	}
	file := filepath.Join(out, ".combined")
	args := append(append([]string{"build", "-overlay", list}, flags...), "-o", file, "./"+main)
	cmd := exec.Command("go", args...) //nolint:noctx // ends with us
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	for _, p := range programs() {
		link := filepath.Join(out, p.name)
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Link(file, link); err != nil {
			return err
		}
	}
	return os.Remove(file)
}

// overlay is what go build's flag of that name takes: files that are not where
// the compiler sees them.
type overlay struct {
	dir     string
	Replace map[string]string
}

var (
	packageMain = regexp.MustCompile(`(?m)^package main$`)
	funcMain    = regexp.MustCompile(`(?m)^func main\(\) \{`)
	embeds      = regexp.MustCompile(`(?m)^//go:embed (\S+)$`)
)

// rename gives a main package a second place, below its own so that it may
// import what is internal to it, where it can be imported.
func (o *overlay) rename(pkg string) error {
	files, err := filepath.Glob(filepath.Join(pkg, "*.go"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		src, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		for _, m := range embeds.FindAllSubmatch(src, -1) {
			data, err := os.ReadFile(filepath.Join(pkg, string(m[1])))
			if err == nil {
				err = o.add(filepath.Join(pkg, "combined", string(m[1])), data)
			}
			if err != nil {
				return err
			}
		}
		src = packageMain.ReplaceAll(src, []byte("package combined"))
		src = funcMain.ReplaceAll(src, []byte("func Main() {"))
		if err := o.add(filepath.Join(pkg, "combined", filepath.Base(f)), src); err != nil {
			return err
		}
	}
	return nil
}

// dispatcher is the main package that all names lead to.
func dispatcher() string {
	imports, cases := "", ""
	for i, p := range programs() {
		imports += fmt.Sprintf("\tp%d %q\n", i, module+"/"+p.pkg+"/combined")
		cases += fmt.Sprintf("\tcase %q:\n\t\tp%d.Main()\n", p.name, i)
	}
	return "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n\t\"path/filepath\"\n\n" + imports + `)

func main() {
	switch name := filepath.Base(os.Args[0]); name {
` + cases + `	default:
		fmt.Fprintf(os.Stderr, "%s: not the name of a program of this file\n", name)
		os.Exit(2)
	}
}
`
}

func (o *overlay) add(path string, data []byte) error {
	real := filepath.Join(o.dir, fmt.Sprintf("%d-%s", len(o.Replace), filepath.Base(path)))
	at, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	o.Replace[at] = real
	return os.WriteFile(real, data, 0o600)
}

func (o *overlay) write() (string, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	path := filepath.Join(o.dir, "overlay.json")
	return path, os.WriteFile(path, b, 0o600)
}
