package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/ext"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
)

type exprQuestion struct {
	Expr string                  `json:"expr"`
	Vars map[string]exprVariable `json:"vars"`
	// Functions that are declared without an implementation.
	Functions []declaredFunction `json:"functions"`
	// "kubernetes", which is the default, or "conformance": what cel-go uses for cel-spec's cases.
	Env string `json:"env"`
	// Of Kubernetes; 1.37 is the default.
	Version string `json:"version"`
	// Whether the expression is stored already, rather than new.
	Stored bool `json:"stored"`
	// These are cel-spec's.
	Container     string `json:"container"`
	DisableMacros bool   `json:"disable_macros"`
	DisableCheck  bool   `json:"disable_check"`
	CheckOnly     bool   `json:"check_only"`
}

type exprVariable struct {
	Type string `json:"type"`
	// Missing for a variable that is only declared.
	Value json.RawMessage `json:"value"`
}

type exprAnswer struct {
	Issues string `json:"issues,omitempty"`
	// If the expression parses.
	AST string `json:"ast,omitempty"`
	// These are those of an expression that is checked.
	OutputType string            `json:"output_type,omitempty"`
	Types      map[string]string `json:"types,omitempty"`
	References map[string]any    `json:"references,omitempty"`
	Estimate   map[string]string `json:"estimate,omitempty"`
	// What it evaluates to: a value, or an error.
	Value any    `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
	Cost  string `json:"cost,omitempty"`
}

func answerExpr(q exprQuestion) (any, error) {
	env, err := exprEnv(q)
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(q.Vars))
	values := map[string]any{}
	for _, name := range names {
		variable := q.Vars[name]
		declared, err := parseType(variable.Type)
		if err != nil {
			return nil, err
		}
		if env, err = env.Extend(cel.Variable(name, declared)); err != nil {
			return nil, err
		}
		if variable.Value != nil {
			if values[name], err = decode(variable.Value); err != nil {
				return nil, fmt.Errorf("the value of %s: %w", name, err)
			}
		}
	}
	for _, function := range q.Functions {
		declared, err := function.declare()
		if err != nil {
			return nil, err
		}
		if env, err = env.Extend(declared); err != nil {
			return nil, err
		}
	}

	var answer exprAnswer
	tree, issues := env.Parse(q.Expr)
	if issues.Err() != nil {
		answer.Issues = issues.String()
		return answer, nil
	}
	answer.AST = treeText(tree.NativeRep())
	if !q.DisableCheck {
		if tree, issues = env.Check(tree); issues.Err() != nil {
			answer.Issues = issues.String()
			return answer, nil
		}
		describeChecked(&answer, tree)
		estimate, err := env.EstimateCost(tree, &library.CostEstimator{})
		if err != nil {
			return nil, err
		}
		answer.Estimate = estimateText(estimate)
	}
	if q.CheckOnly {
		return answer, nil
	}
	program, err := env.Program(tree, programOptions(q)...)
	if err != nil {
		answer.Issues = "program instantiation failed: " + err.Error()
		return answer, nil
	}
	value, details, err := program.Eval(values)
	if err != nil {
		answer.Error = err.Error()
	} else {
		answer.Value = encode(value)
	}
	if details != nil && details.ActualCost() != nil {
		answer.Cost = strconv.FormatUint(*details.ActualCost(), 10)
	}
	return answer, nil
}

// declare reads the signatures that describe and signature write.
func (f declaredFunction) declare() (cel.EnvOption, error) {
	var options []cel.FunctionOpt
	for _, overload := range f.Overloads {
		arguments, result, _ := strings.Cut(overload.Signature, " -> ")
		target, list, isMember := strings.Cut(arguments, ".(")
		if !isMember {
			list = strings.TrimPrefix(arguments, "(")
		}
		parameters := splitTypes(strings.TrimSuffix(list, ")"))
		if isMember {
			parameters = append([]string{target}, parameters...)
		}
		var declared []*cel.Type
		for _, parameter := range append(parameters, result) {
			if parameter == "" {
				continue
			}
			read, err := parseType(parameter)
			if err != nil {
				return nil, err
			}
			declared = append(declared, read)
		}
		last := len(declared) - 1
		if isMember {
			options = append(options, cel.MemberOverload(overload.ID, declared[:last], declared[last]))
		} else {
			options = append(options, cel.Overload(overload.ID, declared[:last], declared[last]))
		}
	}
	return cel.Function(f.Name, options...), nil
}

func exprEnv(q exprQuestion) (*cel.Env, error) {
	switch q.Env {
	case "", "kubernetes":
		if q.Version == "" {
			q.Version = "1.37"
		}
		parsed, err := version.ParseGeneric(q.Version)
		if err != nil {
			return nil, err
		}
		set := environment.MustBaseEnvSet(parsed)
		env := set.NewExpressionsEnv()
		if q.Stored {
			env = set.StoredExpressionsEnv()
		}
		return env, nil
	case "conformance":
		options := []cel.EnvOption{
			cel.StdLib(),
			cel.ClearMacros(),
			cel.OptionalTypes(),
			cel.EagerlyValidateDeclarations(true),
			cel.EnableErrorOnBadPresenceTest(true),
			cel.EnableIdentifierEscapeSyntax(),
			cel.Types(messages...),
			ext.Bindings(),
			ext.Encoders(),
			ext.Math(),
			ext.Protos(),
			ext.Strings(),
			ext.TwoVarComprehensions(),
			cel.Container(q.Container),
		}
		if q.DisableMacros {
			options = append(options, cel.ClearMacros())
		} else {
			options = append(options, cel.Macros(cel.StandardMacros...))
		}
		return cel.NewCustomEnv(options...)
	default:
		return nil, fmt.Errorf("unknown environment %q", q.Env)
	}
}

// programOptions are those of CRDs' rules in Kubernetes' environment; it has the others itself.
func programOptions(q exprQuestion) []cel.ProgramOption {
	if q.Env == "conformance" {
		return []cel.ProgramOption{cel.EvalOptions(cel.OptTrackCost)}
	}
	return []cel.ProgramOption{
		cel.CostLimit(celconfig.PerCallLimit),
		cel.CostTracking(&library.CostEstimator{}),
		cel.InterruptCheckFrequency(celconfig.CheckFrequency),
	}
}

func describeChecked(answer *exprAnswer, tree *cel.Ast) {
	answer.OutputType = cel.FormatCELType(tree.OutputType())
	answer.Types = map[string]string{}
	answer.References = map[string]any{}
	checked := tree.NativeRep()
	// The checker may have replaced qualified names.
	answer.AST = treeText(checked)
	for id, found := range checked.TypeMap() {
		answer.Types[strconv.FormatInt(id, 10)] = cel.FormatCELType(found)
	}
	for id, reference := range checked.ReferenceMap() {
		described := map[string]any{}
		if reference.Name != "" {
			described["name"] = reference.Name
		}
		if len(reference.OverloadIDs) > 0 {
			described["overloads"] = slices.Sorted(slices.Values(reference.OverloadIDs))
		}
		if reference.Value != nil {
			described["value"] = encode(reference.Value)
		}
		answer.References[strconv.FormatInt(id, 10)] = described
	}
}

func estimateText(estimate checker.CostEstimate) map[string]string {
	return map[string]string{
		"min": strconv.FormatUint(estimate.Min, 10),
		"max": strconv.FormatUint(estimate.Max, 10),
	}
}

// treeText prints a tree as nested lists: `(call 2@1 "_+_" (ident 1@0 "x") (int 3@2 1))` is `x+1`. After the kind are the id
// and, after `@`, the offset in characters; `@-` if it has none.
//
//	(null ID) (bool ID true) (int ID 1) (uint ID 1) (double ID 1e+21) (string ID "text") (bytes ID "base64")
//	(ident ID "name") (select ID "field" OPERAND) (has ID "field" OPERAND)
//	(call ID "function" ARGUMENT...) (method ID "function" TARGET ARGUMENT...)
//	(list ID ELEMENT...) with `?` before an optional one
//	(map ID (entry ID KEY VALUE)...) and (struct ID "type" (field ID "name" VALUE)...) with `?entry` and `?field`
//	(fold ID "variable" "second variable, or empty" "accumulator" RANGE INITIAL CONDITION STEP RESULT)
func treeText(tree *ast.AST) string {
	printer := treePrinter{info: tree.SourceInfo()}
	printer.expr(tree.Expr())
	return printer.String()
}

type treePrinter struct {
	strings.Builder
	info *ast.SourceInfo
}

func (p *treePrinter) open(kind string, id int64, texts ...string) {
	position := "-"
	if at, ok := p.info.GetOffsetRange(id); ok {
		position = strconv.Itoa(int(at.Start))
	}
	fmt.Fprintf(p, "(%s %d@%s", kind, id, position)
	for _, text := range texts {
		p.WriteByte(' ')
		p.WriteString(quote(text))
	}
}

func (p *treePrinter) children(children ...ast.Expr) {
	for _, child := range children {
		p.WriteByte(' ')
		p.expr(child)
	}
	p.WriteByte(')')
}

// quote is JSON's text.
func quote(text string) string {
	var line strings.Builder
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text)
	return strings.TrimSuffix(line.String(), "\n")
}

func (p *treePrinter) expr(e ast.Expr) {
	switch e.Kind() {
	case ast.LiteralKind:
		p.literal(e)
	case ast.IdentKind:
		p.open("ident", e.ID(), e.AsIdent())
		p.children()
	case ast.SelectKind:
		kind := "select"
		if e.AsSelect().IsTestOnly() {
			kind = "has"
		}
		p.open(kind, e.ID(), e.AsSelect().FieldName())
		p.children(e.AsSelect().Operand())
	case ast.CallKind:
		call := e.AsCall()
		if call.IsMemberFunction() {
			p.open("method", e.ID(), call.FunctionName())
			p.children(append([]ast.Expr{call.Target()}, call.Args()...)...)
		} else {
			p.open("call", e.ID(), call.FunctionName())
			p.children(call.Args()...)
		}
	case ast.ListKind:
		p.open("list", e.ID())
		for i, element := range e.AsList().Elements() {
			p.WriteByte(' ')
			if e.AsList().IsOptional(int32(i)) {
				p.WriteByte('?')
			}
			p.expr(element)
		}
		p.WriteByte(')')
	case ast.MapKind:
		p.open("map", e.ID())
		for _, entry := range e.AsMap().Entries() {
			p.WriteByte(' ')
			p.open(optionally("entry", entry.AsMapEntry().IsOptional()), entry.ID())
			p.children(entry.AsMapEntry().Key(), entry.AsMapEntry().Value())
		}
		p.WriteByte(')')
	case ast.StructKind:
		p.open("struct", e.ID(), e.AsStruct().TypeName())
		for _, entry := range e.AsStruct().Fields() {
			p.WriteByte(' ')
			p.open(optionally("field", entry.AsStructField().IsOptional()), entry.ID(), entry.AsStructField().Name())
			p.children(entry.AsStructField().Value())
		}
		p.WriteByte(')')
	case ast.ComprehensionKind:
		fold := e.AsComprehension()
		p.open("fold", e.ID(), fold.IterVar(), fold.IterVar2(), fold.AccuVar())
		p.children(fold.IterRange(), fold.AccuInit(), fold.LoopCondition(), fold.LoopStep(), fold.Result())
	default:
		p.open("unspecified", e.ID())
		p.children()
	}
}

func optionally(kind string, optional bool) string {
	if optional {
		return "?" + kind
	}
	return kind
}

func (p *treePrinter) literal(e ast.Expr) {
	for kind, value := range encode(e.AsLiteral()).(typed) {
		switch {
		case kind == "null":
			p.open(kind, e.ID())
		case kind == "string" || kind == "bytes":
			p.open(kind, e.ID(), value.(string))
		default:
			p.open(kind, e.ID())
			fmt.Fprintf(p, " %v", value)
		}
	}
	p.WriteByte(')')
}
