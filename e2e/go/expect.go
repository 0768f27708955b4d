package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// What happened, in order, said by handlers that run elsewhere.
type happenings chan string

func newHappenings() happenings { return make(happenings, 1000) }

func (h happenings) say(format string, values ...any) { h <- fmt.Sprintf(format, values...) }

// The next ones are these, in this order.
func (h happenings) expect(ctx context.Context, expected ...string) error {
	for _, expected := range expected {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%q did not happen: %w", expected, ctx.Err())
		case happened := <-h:
			if happened != expected {
				return fmt.Errorf("%q happened, not %q", happened, expected)
			}
		}
	}
	return nil
}

// Whether something is what it should be.
func equal[T any](what string, got, expected T) error {
	if reflect.DeepEqual(got, expected) {
		return nil
	}
	return fmt.Errorf("%s is %+v, not %+v", what, got, expected)
}

// Whether an error is of the expected kind; none is not.
func refused(what string, err error, kind func(error) bool) error {
	if err == nil {
		return fmt.Errorf("%s succeeded", what)
	}
	if !kind(err) {
		return fmt.Errorf("%s failed otherwise: %w", what, err)
	}
	return nil
}

// Waits until a probe has no error, and tells the last one.
func eventually(ctx context.Context, probe func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		if err := probe(ctx); err != nil {
			last = err
			return false, nil
		}
		return true, nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

// The first error, naming the step that it comes from.
func steps(ctx context.Context, steps ...step) error {
	for _, step := range steps {
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

type step struct {
	name string
	run  func(context.Context) error
}
