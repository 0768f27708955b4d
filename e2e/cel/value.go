package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// typed is a value with its type: an object with one field, or two for an opaque value. Numbers are text, because JSON
// readers round them.
type typed = map[string]any

func encode(value ref.Val) any {
	switch value := value.(type) {
	case types.Null:
		return typed{"null": nil}
	case types.Bool:
		return typed{"bool": bool(value)}
	case types.Int:
		return typed{"int": strconv.FormatInt(int64(value), 10)}
	case types.Uint:
		return typed{"uint": strconv.FormatUint(uint64(value), 10)}
	case types.Double:
		return typed{"double": strconv.FormatFloat(float64(value), 'g', -1, 64)}
	case types.String:
		return typed{"string": string(value)}
	case types.Bytes:
		return typed{"bytes": base64.StdEncoding.EncodeToString(value)}
	case types.Duration:
		// Nanoseconds.
		return typed{"duration": strconv.FormatInt(int64(value.Duration), 10)}
	case types.Timestamp:
		return typed{"timestamp": value.Format(time.RFC3339Nano)}
	case *types.Type:
		return typed{"type": value.TypeName()}
	case *types.Optional:
		if !value.HasValue() {
			return typed{"optional": nil}
		}
		return typed{"optional": encode(value.GetValue())}
	case *types.Err:
		return typed{"error": value.Error()}
	case *types.Unknown:
		return typed{"unknown": value.String()}
	}
	if list, ok := value.(traits.Lister); ok {
		elements := []any{}
		for i := types.Int(0); i < list.Size().(types.Int); i++ {
			elements = append(elements, encode(list.Get(i)))
		}
		return typed{"list": elements}
	}
	if mapping, ok := value.(traits.Mapper); ok {
		entries := [][2]any{}
		for it := mapping.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			entries = append(entries, [2]any{encode(key), encode(mapping.Get(key))})
		}
		return typed{"map": sorted(entries)}
	}
	text := ""
	if converted, ok := value.ConvertToType(types.StringType).(types.String); ok {
		text = string(converted)
	} else {
		text = fmt.Sprint(value.Value())
	}
	return typed{"opaque": value.Type().TypeName(), "string": text}
}

// sorted orders the entries of a map by their keys' JSON.
func sorted(entries [][2]any) [][2]any {
	key := func(entry [2]any) string {
		text, _ := json.Marshal(entry[0])
		return string(text)
	}
	slices.SortFunc(entries, func(a, b [2]any) int { return strings.Compare(key(a), key(b)) })
	return entries
}

// decode is the reverse of encode. Objects and opaque values are not decoded.
func decode(raw json.RawMessage) (ref.Val, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	if len(fields) != 1 {
		return nil, fmt.Errorf("a value has one field: %s", raw)
	}
	kind := slices.Collect(maps.Keys(fields))[0]
	content := fields[kind]
	switch kind {
	case "null":
		return types.NullValue, nil
	case "bool":
		var value bool
		err := json.Unmarshal(content, &value)
		return types.Bool(value), err
	case "list":
		var raws []json.RawMessage
		if err := json.Unmarshal(content, &raws); err != nil {
			return nil, err
		}
		elements := []ref.Val{}
		for _, raw := range raws {
			element, err := decode(raw)
			if err != nil {
				return nil, err
			}
			elements = append(elements, element)
		}
		return types.NewRefValList(types.DefaultTypeAdapter, elements), nil
	case "map":
		var raws [][2]json.RawMessage
		if err := json.Unmarshal(content, &raws); err != nil {
			return nil, err
		}
		entries := map[ref.Val]ref.Val{}
		for _, raw := range raws {
			key, err := decode(raw[0])
			if err != nil {
				return nil, err
			}
			value, err := decode(raw[1])
			if err != nil {
				return nil, err
			}
			entries[key] = value
		}
		return types.NewRefValMap(types.DefaultTypeAdapter, entries), nil
	case "optional":
		if string(content) == "null" {
			return types.OptionalNone, nil
		}
		value, err := decode(content)
		if err != nil {
			return nil, err
		}
		return types.OptionalOf(value), nil
	}
	var text string
	if err := json.Unmarshal(content, &text); err != nil {
		return nil, err
	}
	switch kind {
	case "int":
		value, err := strconv.ParseInt(text, 10, 64)
		return types.Int(value), err
	case "uint":
		value, err := strconv.ParseUint(text, 10, 64)
		return types.Uint(value), err
	case "double":
		value, err := strconv.ParseFloat(text, 64)
		if err != nil && !math.IsInf(value, 0) {
			return nil, err
		}
		return types.Double(value), nil
	case "string":
		return types.String(text), nil
	case "bytes":
		value, err := base64.StdEncoding.DecodeString(text)
		return types.Bytes(value), err
	case "duration":
		value, err := strconv.ParseInt(text, 10, 64)
		return types.Duration{Duration: time.Duration(value)}, err
	case "timestamp":
		value, err := time.Parse(time.RFC3339Nano, text)
		return types.Timestamp{Time: value}, err
	case "type":
		value, err := parseType(text)
		return value, err
	default:
		return nil, fmt.Errorf("values of kind %q are not decoded", kind)
	}
}

var simpleTypes = map[string]*cel.Type{
	"dyn":       cel.DynType,
	"any":       cel.AnyType,
	"null":      cel.NullType,
	"null_type": cel.NullType,
	"bool":      cel.BoolType,
	"int":       cel.IntType,
	"uint":      cel.UintType,
	"double":    cel.DoubleType,
	"string":    cel.StringType,
	"bytes":     cel.BytesType,
	"duration":  cel.DurationType,
	"timestamp": cel.TimestampType,
	"type":      cel.TypeType,
}

// parseType reads a type as cel-go prints it.
func parseType(text string) (*cel.Type, error) {
	if simple, ok := simpleTypes[text]; ok {
		return simple, nil
	}
	name, rest, found := strings.Cut(text, "(")
	if !found {
		if len(name) == 1 && name >= "A" && name <= "Z" {
			return cel.TypeParamType(name), nil
		}
		if strings.Contains(name, ".") && !strings.HasPrefix(name, "net.") {
			return cel.ObjectType(name), nil
		}
		return cel.OpaqueType(name), nil
	}
	rest, closed := strings.CutSuffix(rest, ")")
	if !closed {
		return nil, fmt.Errorf("not a type: %q", text)
	}
	var parameters []*cel.Type
	for _, part := range splitTypes(rest) {
		parameter, err := parseType(part)
		if err != nil {
			return nil, err
		}
		parameters = append(parameters, parameter)
	}
	switch {
	case name == "list" && len(parameters) == 1:
		return cel.ListType(parameters[0]), nil
	case name == "map" && len(parameters) == 2:
		return cel.MapType(parameters[0], parameters[1]), nil
	case name == "type" && len(parameters) == 1:
		return types.NewTypeTypeWithParam(parameters[0]), nil
	case name == "wrapper" && len(parameters) == 1:
		return cel.NullableType(parameters[0]), nil
	case name == "optional_type" && len(parameters) == 1:
		return cel.OptionalType(parameters[0]), nil
	default:
		return cel.OpaqueType(name, parameters...), nil
	}
}

// splitTypes splits at the commas outside of parentheses.
func splitTypes(text string) (parts []string) {
	depth, start := 0, 0
	for i, c := range text {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			parts = append(parts, strings.TrimSpace(text[start:i]))
			start = i + 1
		}
	}
	return append(parts, strings.TrimSpace(text[start:]))
}
