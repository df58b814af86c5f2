package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"

	"github.com/docker/cli/templates"
)

// exitUsage is what the docker CLI exits with when a template is malformed.
const exitUsage = 64

// Inspect prints each thing that refs name, as an indented JSON array, as a
// compact one for the format "json", or each by a template. Those that are not
// found are reported after the others.
//
// It does what docker/cli's package of that name does, which links the whole
// command line with its telemetry: a third of the time that strake starts in.
func (a *App) Inspect(refs []string, format string, get func(ref string) (any, []byte, error)) error {
	var t *template.Template
	if format != "" && format != "json" {
		var err error
		if t, err = templates.Parse(format); err != nil {
			return StatusError{Code: exitUsage, Err: fmt.Errorf("template parsing error: %w", err)}
		}
	}
	var shown [][]byte
	var errs []error
	for _, ref := range refs {
		typed, raw, err := get(ref)
		if err == nil && t != nil {
			raw, err = byTemplate(t, typed, raw)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		shown = append(shown, raw)
	}
	var err error
	if t != nil {
		_, err = a.Out.Write(append(bytes.Join(shown, []byte("\n")), '\n'))
	} else {
		err = writeArray(a.Out, shown, format == "json")
	}
	if err = errors.Join(append(errs, err)...); err != nil {
		return StatusError{Code: 1, Err: err}
	}
	return nil
}

// byTemplate shows a thing as the API's type, or, when the template asks for
// what that does not have, as the daemon sent it.
func byTemplate(t *template.Template, typed any, raw []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := t.Execute(&b, typed); err == nil {
		return b.Bytes(), nil
	}
	var sent any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&sent); err != nil {
		return nil, fmt.Errorf("unable to read inspect data: %w", err)
	}
	b.Reset()
	strict, err := t.Clone()
	if err == nil {
		err = strict.Option("missingkey=error").Execute(&b, sent)
	}
	if err != nil {
		return nil, fmt.Errorf("template parsing error: %w", err)
	}
	return b.Bytes(), nil
}

func writeArray(w io.Writer, elements [][]byte, compact bool) (err error) {
	array := append(append([]byte{'['}, bytes.Join(elements, []byte{','})...), ']')
	var b bytes.Buffer
	if compact {
		err = json.Compact(&b, array)
	} else {
		err = json.Indent(&b, array, "", "    ")
	}
	if err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err = b.WriteTo(w)
	return err
}

// PrintSorted prints lines in order.
func PrintSorted(w io.Writer, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	slices.Sort(lines)
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}
