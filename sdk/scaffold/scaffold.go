// Package scaffold writes the skeleton of a new driver: a Go module that
// compiles, with the conformance kit as its test.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/driver"
)

//go:embed template
var templates embed.FS

// Config says what driver to make.
type Config struct {
	Kind driver.Kind
	// Name is what a config file will call the driver: lower-case letters,
	// digits and dashes.
	Name string
	// Module is the Go module's path; empty: example.com/ and Binary.
	Module string
	// Replace is a directory with Strake's source, for use instead of the
	// published module. May be empty.
	Replace string
}

// Binary is the name by which a daemon finds the driver.
func (c Config) Binary() string {
	prefix := string(c.Kind)
	if c.Kind == driver.Network {
		prefix = "net"
	}
	return "strake-" + prefix + "-" + c.Name
}

// Write makes the skeleton in dir, which must not exist or be empty.
func Write(dir string, c Config) error {
	if err := check(&c); err != nil {
		return err
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("directory %s: not empty: choose another: %w", dir, errdefs.ErrAlreadyExists)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("scaffold: %w", err)
	}
	for file, tmpl := range map[string]string{
		"go.mod": "go.mod.tmpl", "main.go": "main.go.tmpl", "driver.go": string(c.Kind) + ".go.tmpl",
		"configure.go": "configure.go.tmpl", "driver_test.go": "driver_test.go.tmpl",
		"options.schema.json": "options.schema.json.tmpl", "README.md": "README.md.tmpl",
	} {
		if err := render(filepath.Join(dir, file), tmpl, c); err != nil {
			return fmt.Errorf("scaffold %s: %w", file, err)
		}
	}
	return nil
}

func check(c *Config) error {
	switch c.Kind {
	case driver.Storage, driver.Runtime, driver.Network, driver.Registry:
	default:
		return fmt.Errorf("kind %q: must be storage, runtime, network or registry: %w", c.Kind, errdefs.ErrInvalidArgument)
	}
	if c.Name == "" || strings.Trim(c.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("driver name %q: must be lower-case letters, digits and dashes: %w", c.Name, errdefs.ErrInvalidArgument)
	}
	if c.Module == "" {
		c.Module = "example.com/" + c.Binary()
	}
	if c.Replace == "" {
		return nil
	}
	var err error
	c.Replace, err = filepath.Abs(c.Replace)
	return err
}

func render(path, tmpl string, c Config) (err error) {
	t, err := template.ParseFS(templates, "template/"+tmpl)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, c); err != nil {
		return err
	}
	text := b.Bytes()
	if strings.HasSuffix(path, ".go") {
		if text, err = format.Source(text); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
