// A referee for CEL: answers questions about expressions and rules as kube-apiserver and cel-go would.
//
// Usage:
//
//	cel rules        CRDs' rules: each line has a schema and perhaps objects; see rules.go
//	cel expr         expressions: each line has one and its variables; see expr.go
//	cel conformance  lists the cases of cel-spec; see conformance.go
//	cel library      lists functions and macros of a Kubernetes version; see library.go
//
// rules and expr read a line of JSON from the standard input and answer it with one before they read the next one.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime/debug"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("which one: rules, expr, conformance or library?")
	}
	switch command, rest := arguments[0], arguments[1:]; command {
	case "rules":
		return answerLines(answerRules)
	case "expr":
		return answerLines(answerExpr)
	case "conformance":
		return conformance(rest)
	case "library":
		return listLibrary(rest)
	default:
		return fmt.Errorf("unknown command %q", command)
	}
}

// answerLines answers each line of the standard input with a line. A question that is not understood, and a panic of the
// libraries, are answers as well, so that the asker can go on.
func answerLines[Q any](answer func(Q) (any, error)) error {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			if err := write(answerLine(line, answer)); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func answerLine[Q any](line []byte, answer func(Q) (any, error)) (result any) {
	defer func() {
		if panicked := recover(); panicked != nil {
			result = map[string]any{"panic": fmt.Sprint(panicked), "stack": string(debug.Stack())}
		}
	}()
	var question Q
	if err := json.Unmarshal(line, &question); err != nil {
		return map[string]any{"question": err.Error()}
	}
	result, err := answer(question)
	if err != nil {
		return map[string]any{"question": err.Error()}
	}
	return result
}

// selfType is how kube-apiserver names the type of self: with a random number.
var selfType = regexp.MustCompile(`selfType[0-9]+`)

// write prints a line of JSON. It is not escaped for HTML.
func write(value any) error {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := os.Stdout.Write(selfType.ReplaceAll(line.Bytes(), []byte("selfType0")))
	return err
}
