package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/decls"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/cel/environment"
)

type libraryEnv struct {
	// Of expressions that are new, or of those that are stored already.
	New       bool                         `json:"new"`
	Version   string                       `json:"version"`
	Libraries []string                     `json:"libraries"`
	Functions map[string][]libraryOverload `json:"functions"`
	Macros    []string                     `json:"macros"`
	Variables []string                     `json:"variables"`
}

type libraryOverload struct {
	ID        string `json:"id"`
	Member    bool   `json:"member"`
	NonStrict bool   `json:"non_strict,omitempty"`
	Signature string `json:"signature"`
}

type declaredFunction struct {
	Name      string            `json:"name"`
	Overloads []libraryOverload `json:"overloads"`
}

// listLibrary prints a line for new expressions and a line for stored ones, of each version of Kubernetes that is named.
func listLibrary(versions []string) error {
	if len(versions) == 0 {
		versions = []string{"1.37"}
	}
	for _, text := range versions {
		parsed, err := version.ParseGeneric(text)
		if err != nil {
			return err
		}
		set := environment.MustBaseEnvSet(parsed)
		for _, isNew := range []bool{true, false} {
			env := set.StoredExpressionsEnv()
			if isNew {
				env = set.NewExpressionsEnv()
			}
			if err := write(describe(env, text, isNew)); err != nil {
				return err
			}
		}
	}
	return nil
}

func describe(env *cel.Env, version string, isNew bool) libraryEnv {
	result := libraryEnv{New: isNew, Version: version, Functions: map[string][]libraryOverload{}, Macros: []string{}, Variables: []string{}}
	result.Libraries = slices.Sorted(slices.Values(env.Libraries()))
	for name, function := range env.Functions() {
		for _, overload := range function.OverloadDecls() {
			result.Functions[name] = append(result.Functions[name], libraryOverload{
				ID:        overload.ID(),
				Member:    overload.IsMemberFunction(),
				NonStrict: overload.IsNonStrict(),
				Signature: signature(overload),
			})
		}
	}
	macros := map[string]bool{}
	for _, macro := range env.Macros() {
		// name:arguments:whether it is a method
		macros[macro.MacroKey()] = true
	}
	result.Macros = slices.Sorted(maps.Keys(macros))
	for _, variable := range env.Variables() {
		result.Variables = append(result.Variables, variable.Name()+": "+cel.FormatCELType(variable.Type()))
	}
	slices.Sort(result.Variables)
	return result
}

// signature is an overload as the checker's messages print it.
func signature(overload *decls.OverloadDecl) string {
	target, arguments := "", []string{}
	for i, argument := range overload.ArgTypes() {
		if text := cel.FormatCELType(argument); i == 0 && overload.IsMemberFunction() {
			target = text + "."
		} else {
			arguments = append(arguments, text)
		}
	}
	return target + "(" + strings.Join(arguments, ", ") + ") -> " + cel.FormatCELType(overload.ResultType())
}
