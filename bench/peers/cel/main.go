// Measures cel-go as kube-apiserver uses it for the rules of CRDs, and prints a line of JSON. The rules are those of
// src/cel/rules.json, each with a schema and an object for which it holds.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

type rule struct {
	Name      string                          `json:"name"`
	Schema    apiextensionsv1.JSONSchemaProps `json:"schema"`
	Rule      string                          `json:"rule"`
	Object    json.RawMessage                 `json:"object"`
	OldObject json.RawMessage                 `json:"oldObject"`

	structural  *schema.Structural
	object, old any
	compiled    cel.CompilationResult
}

// measured is a rule of the line.
type measured struct {
	Name                string `json:"name"`
	CompileNanoseconds  int64  `json:"compile_ns"`
	EvaluateNanoseconds int64  `json:"evaluate_ns"`
	EstimatedCost       uint64 `json:"estimated_cost"`
	Cost                uint64 `json:"cost"`
}

func main() {
	path := flag.String("rules", "", "path of rules.json")
	seconds := flag.Float64("seconds", 5, "how long compilation is measured, and then evaluation")
	flag.Parse()
	if err := run(*path, time.Duration(*seconds*float64(time.Second))); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(path string, extent time.Duration) error {
	rules, err := read(path)
	if err != nil {
		return err
	}
	compiles, err := measure(rules, extent, (*rule).compile)
	if err != nil {
		return err
	}
	evaluations, err := measure(rules, extent, (*rule).evaluate)
	if err != nil {
		return err
	}
	line := make([]measured, len(rules))
	for i, rule := range rules {
		cost, err := rule.cost()
		if err != nil {
			return err
		}
		line[i] = measured{rule.Name, compiles[i], evaluations[i], rule.compiled.MaxCost, cost}
	}
	return json.NewEncoder(os.Stdout).Encode(line)
}

func read(path string) ([]*rule, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var rules []*rule
	if err := json.Unmarshal(content, &rules); err != nil {
		return nil, err
	}
	for _, rule := range rules {
		if err := rule.prepare(); err != nil {
			return nil, fmt.Errorf("%s: %w", rule.Name, err)
		}
	}
	return rules, nil
}

func (r *rule) prepare() error {
	var props apiextensions.JSONSchemaProps
	r.Schema.XValidations = apiextensionsv1.ValidationRules{{Rule: r.Rule}}
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&r.Schema, &props, nil); err != nil {
		return err
	}
	var err error
	if r.structural, err = schema.NewStructural(&props); err != nil {
		return err
	}
	if err := utiljson.Unmarshal(r.Object, &r.object); err != nil {
		return err
	}
	if r.OldObject != nil {
		return utiljson.Unmarshal(r.OldObject, &r.old)
	}
	return nil
}

// compile does what the creation of a CRD does for one rule: types of its schema, environment, checker, program and estimate.
func (r *rule) compile() error {
	set := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
	declared := model.SchemaDeclType(r.structural, false)
	results, err := cel.Compile(r.structural, declared, celconfig.PerCallLimit, set, cel.StoredExpressionsEnvLoader())
	if err != nil {
		return err
	}
	if results[0].Error != nil {
		return results[0].Error
	}
	r.compiled = results[0]
	return nil
}

// evaluate does what the validation of an object does for one rule.
func (r *rule) evaluate() error {
	_, err := r.cost()
	return err
}

func (r *rule) cost() (uint64, error) {
	variables := activation{self: cel.UnstructuredToVal(r.object, r.structural)}
	if r.compiled.UsesOldSelf {
		variables.oldSelf = cel.UnstructuredToVal(r.old, r.structural)
	}
	value, details, err := r.compiled.Program.ContextEval(context.Background(), &variables)
	if err != nil {
		return 0, err
	}
	if value != types.True {
		return 0, errors.New("the rule does not hold")
	}
	return *details.ActualCost(), nil
}

type activation struct {
	self, oldSelf ref.Val
}

func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case cel.ScopedVarName:
		return a.self, true
	case cel.OldScopedVarName:
		return a.oldSelf, a.oldSelf != nil
	default:
		return nil, false
	}
}

func (*activation) Parent() interpreter.Activation {
	return nil
}

// measure does something with all rules again and again, and returns the nanoseconds that it took for each rule.
func measure(rules []*rule, extent time.Duration, do func(*rule) error) ([]int64, error) {
	// The first time is not measured: it fills caches.
	for _, rule := range rules {
		if err := do(rule); err != nil {
			return nil, fmt.Errorf("%s: %w", rule.Name, err)
		}
	}
	took := make([]int64, len(rules))
	// Enough at a time for the clock.
	const times = 20
	rounds := int64(0)
	start := time.Now()
	for time.Since(start) < extent {
		for i, rule := range rules {
			before := time.Now()
			for range times {
				if err := do(rule); err != nil {
					return nil, err
				}
			}
			took[i] += time.Since(before).Nanoseconds()
		}
		rounds++
	}
	for i := range took {
		took[i] /= rounds * times
	}
	return took, nil
}
