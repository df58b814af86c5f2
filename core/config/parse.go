package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	toml "github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxSize bounds a configuration file, in bytes.
const maxSize = 1 << 20

// Load reads a file. When it is absent and optional, the defaults apply. Faults
// are Errors; the values are not validated yet, so that flags may override
// them first.
func Load(path string, optional bool) (*Config, error) {
	fi, err := os.Stat(path)
	if optional && errors.Is(err, fs.ErrNotExist) {
		c := Default()
		c.origin.file = path
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxSize {
		return nil, Errors{{File: path, Message: "not a regular file of at most 1 MiB"}}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse reads the text of a file, whose name is for messages.
func Parse(name string, data []byte) (*Config, error) {
	c := base()
	c.origin = origin{file: name}
	tree := map[string]any{}
	if err := toml.Unmarshal(data, &tree); err != nil {
		return nil, syntaxError(name, err)
	}
	c.origin.pos = positions(data)
	if err := c.origin.check(tree); err != nil {
		return nil, err
	}
	if err := toml.NewDecoder(strings.NewReader(string(data))).DisallowUnknownFields().Decode(c); err != nil {
		return nil, syntaxError(name, err)
	}
	c.complete()
	return c, nil
}

// Override notes that the value of key came from elsewhere, for messages.
func (c *Config) Override(key, from string) {
	if c.origin.from == nil {
		c.origin.from = map[string]string{}
	}
	c.origin.from[key] = from
}

// Marshal writes the configuration as a file that Parse understands.
func (c *Config) Marshal() ([]byte, error) { return toml.Marshal(c) }

func syntaxError(name string, err error) error {
	e := &Error{File: name, Message: strings.TrimPrefix(err.Error(), "toml: ")}
	var d *toml.DecodeError
	if errors.As(err, &d) {
		e.Line, e.Column = d.Position()
		e.Key = strings.Join(d.Key(), ".")
	}
	return Errors{e}
}

// origin knows where values stand.
type origin struct {
	file string
	pos  map[string]position // by dotted key
	from map[string]string   // dotted key → flag or variable that overrode it
}

type position struct{ line, column int }

// fault makes an error about key. A key that does not stand in the file takes
// the place of the table that it is missing in.
func (o origin) fault(key, format string, args ...any) *Error {
	e := &Error{File: o.file, Key: key, Message: fmt.Sprintf(format, args...)}
	if from, ok := o.from[key]; ok {
		e.File = from
		return e
	}
	for k := key; k != ""; k = parent(k) {
		if p, ok := o.pos[k]; ok {
			e.Line, e.Column = p.line, p.column
			break
		}
	}
	return e
}

func parent(key string) string {
	i := strings.LastIndexByte(key, '.')
	return key[:max(i, 0)]
}

// positions finds where each key of a document stands first. The document is
// known to be well-formed.
func positions(data []byte) map[string]position {
	pos := map[string]position{}
	var p unstable.Parser
	p.Reset(data)
	var table string
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = note(&p, pos, "", e)
		case unstable.KeyValue:
			note(&p, pos, table, e)
		default: // comments
		}
	}
	return pos
}

// note records the position of each part of e's key, and of the keys of an
// inline table, and returns the whole key.
func note(p *unstable.Parser, pos map[string]position, prefix string, e *unstable.Node) string {
	key := prefix
	for it := e.Key(); it.Next(); {
		n := it.Node()
		key = join(key, string(n.Data))
		if _, ok := pos[key]; !ok {
			start := p.Shape(n.Raw).Start
			pos[key] = position{start.Line, start.Column}
		}
	}
	if e.Kind == unstable.KeyValue && e.Value().Kind == unstable.InlineTable {
		for it := e.Value().Children(); it.Next(); {
			note(p, pos, key, it.Node())
		}
	}
	return key
}

func join(table, key string) string {
	if table == "" {
		return key
	}
	return table + "." + key
}
