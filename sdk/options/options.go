// Package options checks a driver's options against the JSON Schema that it
// publishes. Hosts use it; drivers need not link it.
package options

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Check returns ErrInvalidArgument unless options, a JSON object, suit schema.
// The message names each wrong key and what is allowed. An empty schema allows
// no options; empty options are an empty object. A schema that is none is the
// driver's fault: ErrFailedPrecondition.
func Check(schema, options json.RawMessage) error {
	if len(bytes.TrimSpace(schema)) == 0 {
		schema = json.RawMessage(`{"type": "object", "additionalProperties": false}`)
	}
	if len(bytes.TrimSpace(options)) == 0 {
		options = json.RawMessage(`{}`)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(options))
	if err != nil {
		return fmt.Errorf("options: not JSON: %w: %w", errdefs.ErrInvalidArgument, err)
	}
	if _, ok := value.(map[string]any); !ok {
		return fmt.Errorf("options: not a JSON object: %w", errdefs.ErrInvalidArgument)
	}
	s, err := compile(schema)
	if err != nil {
		return fmt.Errorf("the driver's schema of its options is no JSON Schema: %w: %w", errdefs.ErrFailedPrecondition, err)
	}
	var wrong *jsonschema.ValidationError
	switch err := s.Validate(value); {
	case err == nil:
		return nil
	case errors.As(err, &wrong):
		return fmt.Errorf("options: %s: %w", strings.Join(explain(s, wrong), "; "), errdefs.ErrInvalidArgument)
	default:
		return fmt.Errorf("options: %w: %w", errdefs.ErrInvalidArgument, err)
	}
}

// nowhere refuses to load what a schema refers to: schemas stand alone.
type nowhere struct{}

func (nowhere) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s: a schema may not refer to others: %w", url, errdefs.ErrInvalidArgument)
}

func compile(schema json.RawMessage) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(nowhere{})
	const url = "strake:options"
	if err := c.AddResource(url, doc); err != nil {
		return nil, err
	}
	return c.Compile(url)
}

// explain lists what is wrong, most particular first: the leaves of the tree of
// errors.
func explain(s *jsonschema.Schema, e *jsonschema.ValidationError) []string {
	if len(e.Causes) == 0 {
		return []string{describe(s, e)}
	}
	var all []string
	for _, c := range e.Causes {
		all = append(all, explain(s, c)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func describe(s *jsonschema.Schema, e *jsonschema.ValidationError) string {
	key := strings.Join(e.InstanceLocation, ".")
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		return unknown(s, e.InstanceLocation, k.Properties)
	case *kind.Enum:
		return fmt.Sprintf("%s: %s is not one of %s", key, text(k.Got), list(k.Want))
	case *kind.Const:
		return fmt.Sprintf("%s: %s is not %s", key, text(k.Got), text(k.Want))
	case *kind.Type:
		return fmt.Sprintf("%s: is of type %s, must be %s", key, k.Got, strings.Join(k.Want, " or "))
	case *kind.Required:
		return fmt.Sprintf("%s must be given", strings.Join(prefixed(e.InstanceLocation, k.Missing), ", "))
	default:
		return strings.TrimPrefix(strings.ReplaceAll(e.Error(), "\n", " "), "jsonschema validation failed with 'strake:options#' - ")
	}
}

// unknown names keys that do not exist and those that do.
func unknown(s *jsonschema.Schema, at, keys []string) string {
	keys = slices.Sorted(slices.Values(keys))
	known := "there are none"
	if names := slices.Sorted(maps.Keys(descend(s, at).Properties)); len(names) > 0 {
		known = "known are " + strings.Join(prefixed(at, names), ", ")
	}
	word := "unknown option"
	if len(keys) > 1 {
		word += "s"
	}
	return fmt.Sprintf("%s %s: %s", word, strings.Join(prefixed(at, keys), ", "), known)
}

// descend finds the schema of the value at a path, as far as properties lead.
func descend(s *jsonschema.Schema, at []string) *jsonschema.Schema {
	for _, key := range at {
		for s.Ref != nil {
			s = s.Ref
		}
		next, ok := s.Properties[key]
		if !ok {
			next, ok = s.AdditionalProperties.(*jsonschema.Schema)
		}
		if !ok {
			return &jsonschema.Schema{}
		}
		s = next
	}
	for s.Ref != nil {
		s = s.Ref
	}
	return s
}

func prefixed(at, keys []string) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = strings.Join(append(slices.Clone(at), k), ".")
	}
	return out
}

func list(values []any) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = text(v)
	}
	return strings.Join(out, ", ")
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
