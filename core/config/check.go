package config

import (
	"encoding"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// check compares a decoded document with the fields of Config and reports all
// keys that nobody reads and all values of a wrong type at once; the decoder
// would stop at the first.
func (o origin) check(tree map[string]any) error {
	var faults Errors
	o.checkValue(&faults, "", tree, reflect.TypeFor[Config]())
	return faults.err()
}

func (o origin) checkValue(faults *Errors, key string, v any, t reflect.Type) {
	if u, ok := reflect.New(t).Interface().(encoding.TextUnmarshaler); ok {
		o.checkText(faults, key, v, t, u)
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		if m, ok := v.(map[string]any); ok {
			o.checkStruct(faults, key, m, t)
			return
		}
	case reflect.Map:
		if m, ok := v.(map[string]any); ok {
			for _, k := range slices.Sorted(maps.Keys(m)) {
				o.checkValue(faults, join(key, k), m[k], t.Elem())
			}
			return
		}
	case reflect.Slice:
		if l, ok := v.([]any); ok {
			for _, e := range l {
				o.checkValue(faults, key, e, t.Elem())
			}
			return
		}
	case reflect.Interface: // an option: its driver's schema decides
		return
	case reflect.Int:
		if _, ok := v.(int64); ok {
			return
		}
	default:
		if reflect.TypeOf(v) == t {
			return
		}
	}
	*faults = append(*faults, o.fault(key, "is %s, want %s", describeValue(v), describe(t)))
}

func (o origin) checkText(faults *Errors, key string, v any, t reflect.Type, u encoding.TextUnmarshaler) {
	s, ok := v.(string)
	if !ok {
		*faults = append(*faults, o.fault(key, "is %s, want %s", describeValue(v), describe(t)))
		return
	}
	if err := u.UnmarshalText([]byte(s)); err != nil {
		*faults = append(*faults, o.fault(key, "%v", err))
	}
}

func (o origin) checkStruct(faults *Errors, key string, m map[string]any, t reflect.Type) {
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		if name := f.Tag.Get("toml"); name != "" {
			fields[name] = f.Type
		}
	}
	known := slices.Sorted(maps.Keys(fields))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		ft, ok := fields[k]
		if !ok {
			*faults = append(*faults, o.fault(join(key, k), "unknown key.%s Known here: %s", suggest(k, known), strings.Join(known, ", ")))
			continue
		}
		o.checkValue(faults, join(key, k), m[k], ft)
	}
}

// describe says in words what is wanted.
func describe(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Size]():
		return `a size such as "20m"`
	case reflect.TypeFor[Duration]():
		return `a duration such as "10s"`
	case reflect.TypeFor[Ulimit]():
		return `a limit such as "nofile=1024:524288"`
	}
	switch t.Kind() {
	case reflect.String:
		return "a string in quotes"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Slice:
		return "a list [ … ] whose elements are " + describe(t.Elem())
	default:
		return "a table"
	}
}

// describeValue says in words what stands there.
func describeValue(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case bool:
		return "true or false"
	case int64, float64:
		return "a number"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	default:
		return "a date or time"
	}
}
