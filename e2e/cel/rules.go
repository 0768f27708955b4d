package main

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/utils/ptr"
)

type rulesQuestion struct {
	// An openAPIV3Schema with its rules.
	Schema json.RawMessage `json:"schema"`
	// Whether the CRD is stored already with this schema, so that it is an update of the CRD which is validated.
	Stored bool `json:"stored"`
	// Missing or null if only the schema matters.
	Object json.RawMessage `json:"object"`
	// Null for the creation of the object.
	OldObject json.RawMessage `json:"oldObject"`
}

type rulesAnswer struct {
	// Why the schema is not one.
	Decode string `json:"decode,omitempty"`
	// What is wrong with the CRD. Ordered by field, because Go goes through properties in random order.
	Create []fieldError `json:"create"`
	// The estimated costs of each rule.
	Rules []ruleEstimate `json:"rules,omitempty"`
	// What is wrong with the object according to its rules. Missing without an object, and if the schema is not structural.
	Validate *rulesValidation `json:"validate,omitempty"`
}

type fieldError struct {
	Type   string `json:"type"`
	Field  string `json:"field"`
	Detail string `json:"detail"`
	// As users see it, with the bad value.
	Text string `json:"text"`
}

type ruleEstimate struct {
	// As in errors: `….x-kubernetes-validations[0].rule`.
	Path string `json:"path"`
	// Of one evaluation.
	MaxCost string `json:"max_cost"`
	// How often the rule may be evaluated by what its path has limits for; null if there is a list or a map without one.
	Cardinality *string `json:"cardinality"`
	// How often it may be evaluated by the size that an object may have.
	MaxCardinality string `json:"max_cardinality"`
	MessageMaxCost string `json:"message_max_cost,omitempty"`
	UsesOldSelf    bool   `json:"uses_old_self,omitempty"`
	Error          string `json:"error,omitempty"`
	MessageError   string `json:"message_error,omitempty"`
}

type rulesValidation struct {
	Errors []fieldError `json:"errors"`
	// Errors that an unchanged part of the object has: they are warnings.
	Warnings []string `json:"warnings,omitempty"`
	// What remains of the object's budget; -1 if it is used up.
	Remaining string `json:"remaining"`
	// Each evaluation of each rule, whether or not its program would stop earlier. Without those within `allOf`.
	Evaluations []evaluation `json:"evaluations"`
}

type evaluation struct {
	// Of the value in the object; empty for the root.
	Path string `json:"path"`
	Rule int    `json:"rule"`
	// Its outcome.
	Value any    `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
	Cost  string `json:"cost,omitempty"`
	// The same of its messageExpression, which is evaluated whatever the rule's value is.
	Message      any    `json:"message,omitempty"`
	MessageError string `json:"message_error,omitempty"`
	MessageCost  string `json:"message_cost,omitempty"`
}

var scheme = func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	return scheme
}()

func answerRules(q rulesQuestion) (any, error) {
	crd, err := definition(q.Schema)
	if err != nil {
		return rulesAnswer{Decode: err.Error()}, nil
	}
	ctx := context.Background()
	var answer rulesAnswer
	if q.Stored {
		answer.Create = fieldErrors(validation.ValidateCustomResourceDefinitionUpdate(ctx, crd, crd.DeepCopy()))
	} else {
		answer.Create = fieldErrors(validation.ValidateCustomResourceDefinition(ctx, crd))
	}
	schema := crd.Spec.Validation.OpenAPIV3Schema
	structural, err := structuralschema.NewStructural(schema)
	if err != nil || len(structuralschema.ValidateStructural(nil, structural)) > 0 {
		return answer, nil
	}
	root := field.NewPath("spec", "validation", "openAPIV3Schema")
	estimates := estimator{stored: q.Stored}
	estimates.visit(root, schema, validation.RootCELContext(schema))
	answer.Rules = estimates.rules

	object, err := decodeObject(q.Object)
	if err != nil || object == nil {
		return answer, err
	}
	oldObject, err := decodeObject(q.OldObject)
	if err != nil {
		return answer, err
	}
	answer.Validate = validate(structural, object, oldObject)
	return answer, nil
}

// definition is a CRD with the schema, in the form that validation has.
func definition(schema json.RawMessage) (*apiextensions.CustomResourceDefinition, error) {
	var props apiextensionsv1.JSONSchemaProps
	if err := utiljson.Unmarshal(schema, &props); err != nil {
		return nil, err
	}
	versioned := apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "cases.example.com", ResourceVersion: "1"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.com",
			Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "cases", Kind: "Case"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name:    "v1",
				Served:  true,
				Storage: true,
				Schema:  &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &props},
			}},
		},
		Status: apiextensionsv1.CustomResourceDefinitionStatus{StoredVersions: []string{"v1"}},
	}
	scheme.Default(&versioned)
	var crd apiextensions.CustomResourceDefinition
	err := scheme.Convert(&versioned, &crd, nil)
	return &crd, err
}

func decodeObject(raw json.RawMessage) (object map[string]any, err error) {
	if raw != nil {
		err = utiljson.Unmarshal(raw, &object)
	}
	return object, err
}

func fieldErrors(errors field.ErrorList) []fieldError {
	result := make([]fieldError, 0, len(errors))
	for _, e := range errors {
		result = append(result, fieldError{string(e.Type), e.Field, e.Detail, e.Error()})
	}
	slices.SortStableFunc(result, func(a, b fieldError) int { return strings.Compare(a.Field, b.Field) })
	return result
}

// estimator compiles the rules as the creation of a CRD does.
type estimator struct {
	stored bool
	rules  []ruleEstimate
}

func (e *estimator) visit(path *field.Path, schema *apiextensions.JSONSchemaProps, at *validation.CELSchemaContext) {
	if schema == nil {
		return
	}
	if len(schema.XValidations) > 0 {
		e.compile(path, at)
	}
	if schema.AdditionalProperties != nil {
		child := schema.AdditionalProperties.Schema
		e.visit(path.Child("additionalProperties"), child, at.ChildAdditionalPropertiesContext(child))
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		child := schema.Properties[name]
		e.visit(path.Child("properties").Key(name), &child, at.ChildPropertyContext(&child, name))
	}
	if schema.Items != nil {
		e.visit(path.Child("items"), schema.Items.Schema, at.ChildItemsContext(schema.Items.Schema))
	}
}

func (e *estimator) compile(path *field.Path, at *validation.CELSchemaContext) {
	info, err := at.TypeInfo()
	if err != nil || info == nil || info.DeclType == nil {
		return
	}
	loader := cel.NewExpressionsEnvLoader()
	if e.stored {
		loader = cel.StoredExpressionsEnvLoader()
	}
	results, err := compileRules(info.Schema, info.DeclType, loader)
	if err != nil {
		return
	}
	for i, result := range results {
		estimate := ruleEstimate{
			Path:           path.Child("x-kubernetes-validations").Index(i).Child("rule").String(),
			MaxCost:        strconv.FormatUint(result.MaxCost, 10),
			MaxCardinality: strconv.FormatUint(result.MaxCardinality, 10),
			UsesOldSelf:    result.UsesOldSelf,
		}
		if at.MaxCardinality != nil {
			estimate.Cardinality = ptr.To(strconv.FormatUint(*at.MaxCardinality, 10))
		}
		if result.Error != nil {
			estimate.Error = result.Error.Detail
		}
		if result.MessageExpression != nil {
			estimate.MessageMaxCost = strconv.FormatUint(result.MessageExpressionMaxCost, 10)
		}
		if result.MessageExpressionError != nil {
			estimate.MessageError = result.MessageExpressionError.Detail
		}
		e.rules = append(e.rules, estimate)
	}
}

func compileRules(schema *structuralschema.Structural, declared *apiservercel.DeclType, loader cel.EnvLoader) ([]cel.CompilationResult, error) {
	set := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
	return cel.Compile(schema, declared, celconfig.PerCallLimit, set, loader)
}

// validate does what the strategy of custom resources does with rules.
func validate(schema *structuralschema.Structural, object, oldObject map[string]any) *rulesValidation {
	var warnings warnings
	ctx := warning.WithWarningRecorder(context.Background(), &warnings)
	validator := cel.NewValidator(schema, true, celconfig.PerCallLimit)
	// An interface that holds a nil map is not nil.
	var old any
	var options []cel.Option
	if oldObject != nil {
		old = oldObject
		correlated := common.NewCorrelatedObject(object, oldObject, &model.Structural{Structural: schema})
		options = append(options, cel.WithRatcheting(correlated))
	}
	errors, remaining := validator.Validate(ctx, nil, schema, object, old, celconfig.RuntimeCELCostBudget, options...)
	slices.Sort(warnings)
	result := &rulesValidation{
		Errors:    fieldErrors(errors),
		Warnings:  warnings,
		Remaining: strconv.FormatInt(remaining, 10),
	}
	evaluator := evaluator{ctx: ctx, evaluations: []evaluation{}, compiled: map[*apiextensionsv1.ValidationRule][]cel.CompilationResult{}}
	evaluator.visit(nil, schema, model.SchemaDeclType(schema, true), true, object, old)
	result.Evaluations = evaluator.evaluations
	return result
}

type warnings []string

func (w *warnings) AddWarning(_, text string) {
	*w = append(*w, text)
}

// evaluator goes through an object as the validator does, but in the order of the names, and keeps what each rule gives.
type evaluator struct {
	ctx         context.Context
	evaluations []evaluation
	// By the first of a schema's rules, because the schemas of properties are copied.
	compiled map[*apiextensionsv1.ValidationRule][]cel.CompilationResult
}

func (e *evaluator) visit(path *field.Path, schema *structuralschema.Structural, declared *apiservercel.DeclType, isRoot bool, object, old any) {
	if object == nil || declared == nil {
		return
	}
	e.evaluate(path, schema, declared, isRoot, object, old)
	switch object := object.(type) {
	case []any:
		oldList, _ := old.([]any)
		if schema.Items == nil {
			return
		}
		oldItems := common.MakeMapList(&model.Structural{Structural: schema}, oldList)
		for i, item := range object {
			e.visit(path.Index(i), schema.Items, declared.ElemType, schema.Items.XEmbeddedResource, item, oldItems.Get(item))
		}
	case map[string]any:
		oldMap, _ := old.(map[string]any)
		if !cel.MapIsCorrelatable(schema.XMapType) {
			oldMap = nil
		}
		for _, key := range slices.Sorted(maps.Keys(object)) {
			if schema.AdditionalProperties != nil && schema.AdditionalProperties.Structural != nil {
				values := schema.AdditionalProperties.Structural
				e.visit(path.Key(key), values, declared.ElemType, values.XEmbeddedResource, object[key], oldMap[key])
			}
			if property, ok := schema.Properties[key]; ok {
				e.visit(path.Child(key), &property, propertyType(key, &property, declared), property.XEmbeddedResource, object[key], oldMap[key])
			}
		}
	}
}

func propertyType(name string, schema *structuralschema.Structural, parent *apiservercel.DeclType) *apiservercel.DeclType {
	escaped, ok := apiservercel.Escape(name)
	if !ok {
		return model.SchemaDeclType(schema, schema.XEmbeddedResource)
	}
	if known, ok := parent.Fields[escaped]; ok {
		return known.Type
	}
	return nil
}

func (e *evaluator) evaluate(path *field.Path, schema *structuralschema.Structural, declared *apiservercel.DeclType, isRoot bool, object, old any) {
	if len(schema.XValidations) == 0 {
		return
	}
	results, ok := e.compiled[&schema.XValidations[0]]
	if !ok {
		var err error
		if results, err = compileRules(schema, declared, cel.StoredExpressionsEnvLoader()); err != nil {
			return
		}
		e.compiled[&schema.XValidations[0]] = results
	}
	typed := schema
	if isRoot {
		typed = model.WithTypeAndObjectMeta(schema)
	}
	variables := activation{"self": cel.UnstructuredToVal(object, typed)}
	withOptional := activation{"self": variables["self"], "oldSelf": types.OptionalNone}
	if old != nil {
		variables["oldSelf"] = cel.UnstructuredToVal(old, typed)
		withOptional["oldSelf"] = types.OptionalOf(variables["oldSelf"])
	}
	at := ""
	if path != nil {
		at = path.String()
	}
	for i, result := range results {
		optional := ptr.Deref(schema.XValidations[i].OptionalOldSelf, false)
		if result.Program == nil || result.UsesOldSelf && old == nil && !optional {
			continue
		}
		given := variables
		if optional {
			given = withOptional
		}
		one := evaluation{Path: at, Rule: i}
		one.Value, one.Error, one.Cost = e.run(result.Program, given)
		if result.MessageExpression != nil {
			one.Message, one.MessageError, one.MessageCost = e.run(result.MessageExpression, given)
		}
		e.evaluations = append(e.evaluations, one)
	}
}

func (e *evaluator) run(program celgo.Program, given activation) (value any, problem, cost string) {
	result, details, err := program.ContextEval(e.ctx, given)
	if err != nil {
		problem = err.Error()
	} else {
		value = encode(result)
	}
	if details != nil && details.ActualCost() != nil {
		cost = strconv.FormatUint(*details.ActualCost(), 10)
	}
	return value, problem, cost
}

type activation map[string]ref.Val

func (a activation) ResolveName(name string) (any, bool) {
	value, ok := a[name]
	return value, ok
}

func (activation) Parent() interpreter.Activation {
	return nil
}
