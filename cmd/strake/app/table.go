package app

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/docker/cli/templates"
)

// Table prints rows, which are structs of strings, by a --format value: a table
// with the columns of the template table by default, "table TEMPLATE", "json"
// or a template. With quiet, only the first field of each row is printed.
func Table[R any](w io.Writer, format string, quiet bool, table string, rows []R) error {
	header := false
	switch {
	case quiet && format == "":
		format = "{{." + reflect.TypeFor[R]().Field(0).Name + "}}"
	case format == "" || format == "table":
		header, format = true, table
	case format == "json":
		return jsonLines(w, rows)
	case strings.HasPrefix(format, "table "):
		header, format = true, strings.ReplaceAll(strings.TrimPrefix(format, "table "), `\t`, "\t")
	}
	t, err := templates.Parse(format)
	if err != nil {
		return fmt.Errorf("--format: %w", err)
	}
	tw := tabwriter.NewWriter(w, 10, 1, 3, ' ', 0)
	if header {
		if _, err := fmt.Fprintln(tw, headings(format)); err != nil {
			return err
		}
	}
	for _, r := range rows {
		if err := t.Execute(tw, r); err != nil {
			return fmt.Errorf("--format: %w", err)
		}
		if _, err := fmt.Fprintln(tw); err != nil {
			return err
		}
	}
	return tw.Flush()
}

func jsonLines[R any](w io.Writer, rows []R) error {
	e := json.NewEncoder(w)
	for _, r := range rows {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// headings turns "{{.ID}}\t{{.CreatedBy}}" into "ID\tCREATED BY".
func headings(format string) string {
	field := regexp.MustCompile(`{{[^}]*\.([A-Za-z]+)[^}]*}}`)
	boundary := regexp.MustCompile(`([a-z])([A-Z])`)
	return field.ReplaceAllStringFunc(format, func(s string) string {
		return strings.ToUpper(boundary.ReplaceAllString(field.FindStringSubmatch(s)[1], "$1 $2"))
	})
}
