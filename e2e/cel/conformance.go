package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"cel.dev/expr"
	"cel.dev/expr/conformance/proto2"
	"cel.dev/expr/conformance/proto3"
	"cel.dev/expr/conformance/test"
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// messages are the types of protobuf that cel-spec's cases use.
var messages = []any{
	&proto2.TestAllTypes{},
	&proto2.Proto2ExtensionScopedMessage{},
	&proto2.TestRequired{},
	&proto3.TestAllTypes{},
}

type conformanceCase struct {
	File          string                `json:"file"`
	Section       string                `json:"section"`
	Name          string                `json:"name"`
	Expr          string                `json:"expr"`
	Container     string                `json:"container,omitempty"`
	DisableMacros bool                  `json:"disable_macros,omitempty"`
	DisableCheck  bool                  `json:"disable_check,omitempty"`
	CheckOnly     bool                  `json:"check_only,omitempty"`
	TypeEnv       []conformanceVariable `json:"type_env,omitempty"`
	// Functions that the case declares, which nothing implements.
	Functions []declaredFunction `json:"functions,omitempty"`
	Bindings  map[string]any     `json:"bindings,omitempty"`
	// What is expected: one of value, errors (any of them) and unknown.
	Value   any      `json:"value,omitempty"`
	Errors  []string `json:"errors,omitempty"`
	Unknown bool     `json:"unknown,omitempty"`
	// The type that the checker is expected to find.
	Type string `json:"type,omitempty"`
	// Whether messages or enums of protobuf are involved, and which.
	Protobuf bool     `json:"protobuf,omitempty"`
	Involves []string `json:"involves,omitempty"`
}

type conformanceVariable struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// conformance prints the cases of cel-spec, which are in the module cel.dev/expr. Its folder is the argument, or the working
// directory is within a module that requires it.
func conformance(arguments []string) error {
	var folder string
	if len(arguments) > 0 {
		folder = arguments[0]
	} else {
		out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "cel.dev/expr").Output()
		if err != nil {
			return fmt.Errorf("find the module cel.dev/expr: %w", err)
		}
		folder = strings.TrimSpace(string(out))
	}
	files, err := filepath.Glob(filepath.Join(folder, "tests/simple/testdata/*.textproto"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return errors.New("the module cel.dev/expr has no cases")
	}
	slices.Sort(files)
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var file test.SimpleTestFile
		if err := prototext.Unmarshal(content, &file); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, section := range file.Section {
			for _, one := range section.Test {
				described := describeCase(one)
				described.File, described.Section = strings.TrimSuffix(filepath.Base(name), ".textproto"), section.Name
				if err := write(described); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func describeCase(one *test.SimpleTest) conformanceCase {
	involved := involvement{}
	involved.text(one.Expr)
	involved.text(one.Container)
	result := conformanceCase{
		Name:          one.Name,
		Expr:          one.Expr,
		Container:     one.Container,
		DisableMacros: one.DisableMacros,
		DisableCheck:  one.DisableCheck,
		CheckOnly:     one.CheckOnly,
	}
	for _, declared := range one.TypeEnv {
		switch kind := declared.DeclKind.(type) {
		case *expr.Decl_Ident:
			result.TypeEnv = append(result.TypeEnv, conformanceVariable{declared.Name, involved.typeText(kind.Ident.Type)})
		case *expr.Decl_Function:
			function := declaredFunction{Name: declared.Name}
			for _, overload := range kind.Function.Overloads {
				function.Overloads = append(function.Overloads, involved.overload(overload))
			}
			result.Functions = append(result.Functions, function)
		}
	}
	for name, binding := range one.Bindings {
		if result.Bindings == nil {
			result.Bindings = map[string]any{}
		}
		if value := binding.GetValue(); value != nil {
			result.Bindings[name] = involved.value(value)
		} else if binding.GetUnknown() != nil {
			result.Bindings[name] = typed{"unknown": ""}
		} else {
			result.Bindings[name] = typed{"error": errorTexts(binding.GetError())[0]}
		}
	}
	switch matcher := one.ResultMatcher.(type) {
	case *test.SimpleTest_Value:
		result.Value = involved.value(matcher.Value)
	case *test.SimpleTest_TypedResult:
		if matcher.TypedResult.Result != nil {
			result.Value = involved.value(matcher.TypedResult.Result)
		}
		if matcher.TypedResult.DeducedType != nil {
			result.Type = involved.typeText(matcher.TypedResult.DeducedType)
		}
	case *test.SimpleTest_EvalError:
		result.Errors = errorTexts(matcher.EvalError)
	case *test.SimpleTest_AnyEvalErrors:
		for _, set := range matcher.AnyEvalErrors.Errors {
			result.Errors = append(result.Errors, errorTexts(set)...)
		}
	case *test.SimpleTest_Unknown, *test.SimpleTest_AnyUnknowns:
		result.Unknown = true
	default:
		result.Value = typed{"bool": true}
	}
	result.Involves = involved.names()
	result.Protobuf = len(result.Involves) > 0
	return result
}

func errorTexts(set *expr.ErrorSet) []string {
	texts := []string{}
	for _, status := range set.GetErrors() {
		texts = append(texts, status.GetMessage())
	}
	if len(texts) == 0 {
		texts = append(texts, "")
	}
	return texts
}

// involvement collects the names of the protobuf types of a case.
type involvement map[string]bool

func (i involvement) names() []string {
	names := []string{}
	for name := range i {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

var (
	testTypes = regexp.MustCompile(`TestAllTypes|NestedTestAllTypes|NestedMessage|TestRequired|GlobalEnum|NestedEnum|cel\.expr\.conformance\.proto[23]|proto\.(has|get)Ext`)
	wellKnown = regexp.MustCompile(`google\.protobuf\.\w+`)
	// Without the package, within its container.
	constructed = regexp.MustCompile(`\b(?:(?:Bool|Bytes|Double|Float|Int32|Int64|String|UInt32|UInt64)Value|Any|Duration|Empty|FieldMask|ListValue|Struct|Timestamp|Value|NullValue)\s*\{`)
)

func (i involvement) text(text string) {
	for _, name := range testTypes.FindAllString(text, -1) {
		i[name] = true
	}
	for _, name := range wellKnown.FindAllString(text, -1) {
		// The names of the types are CEL's, too; only messages made of them are not.
		if name == "google.protobuf.Timestamp" || name == "google.protobuf.Duration" {
			if !strings.Contains(text, name+"{") {
				continue
			}
		}
		i[name] = true
	}
	for _, name := range constructed.FindAllString(text, -1) {
		i["google.protobuf."+strings.TrimRight(name, " {")] = true
	}
}

func (i involvement) typeText(t *expr.Type) string {
	described, err := types.ProtoAsType(t)
	if err != nil {
		return "!" + err.Error()
	}
	i.typed(t)
	return cel.FormatCELType(described)
}

func (i involvement) typed(t *expr.Type) {
	switch kind := t.GetTypeKind().(type) {
	case *expr.Type_MessageType:
		i[kind.MessageType] = true
	case *expr.Type_Wrapper:
		i["wrapper"] = true
	case *expr.Type_WellKnown:
		if kind.WellKnown == expr.Type_ANY {
			i["google.protobuf.Any"] = true
		}
	case *expr.Type_ListType_:
		i.typed(kind.ListType.ElemType)
	case *expr.Type_MapType_:
		i.typed(kind.MapType.KeyType)
		i.typed(kind.MapType.ValueType)
	case *expr.Type_AbstractType_:
		for _, parameter := range kind.AbstractType.ParameterTypes {
			i.typed(parameter)
		}
	}
}

func (i involvement) overload(declared *expr.Decl_FunctionDecl_Overload) libraryOverload {
	result := libraryOverload{ID: declared.OverloadId, Member: declared.IsInstanceFunction}
	target, arguments := "", []string{}
	for index, parameter := range declared.Params {
		if text := i.typeText(parameter); index == 0 && declared.IsInstanceFunction {
			target = text + "."
		} else {
			arguments = append(arguments, text)
		}
	}
	result.Signature = target + "(" + strings.Join(arguments, ", ") + ") -> " + i.typeText(declared.ResultType)
	return result
}

// value is encode for values of cel-spec. Messages of protobuf that are values of CEL are those.
func (i involvement) value(value *expr.Value) any {
	switch kind := value.GetKind().(type) {
	case *expr.Value_EnumValue:
		i[kind.EnumValue.Type] = true
		return typed{"enum": fmt.Sprint(kind.EnumValue.Value), "type": kind.EnumValue.Type}
	case *expr.Value_TypeValue:
		i.text(kind.TypeValue)
		return typed{"type": kind.TypeValue}
	case *expr.Value_ListValue:
		elements := []any{}
		for _, element := range kind.ListValue.Values {
			elements = append(elements, i.value(element))
		}
		return typed{"list": elements}
	case *expr.Value_MapValue:
		entries := [][2]any{}
		for _, entry := range kind.MapValue.Entries {
			entries = append(entries, [2]any{i.value(entry.Key), i.value(entry.Value)})
		}
		return typed{"map": sorted(entries)}
	case *expr.Value_ObjectValue:
		return i.message(value, kind)
	}
	converted, err := cel.ProtoAsValue(types.DefaultTypeAdapter, value)
	if err != nil {
		return typed{"error": err.Error()}
	}
	return encode(converted)
}

func (i involvement) message(value *expr.Value, object *expr.Value_ObjectValue) any {
	name := string(object.ObjectValue.MessageName())
	converted, err := cel.ProtoAsValue(types.DefaultTypeAdapter, value)
	if err == nil {
		switch converted.(type) {
		case types.Duration, types.Timestamp:
			return encode(converted)
		}
	}
	i[name] = true
	content, err := proto.Marshal(object.ObjectValue)
	if err != nil {
		return typed{"error": err.Error()}
	}
	return typed{"message": name, "bytes": base64.StdEncoding.EncodeToString(content)}
}
