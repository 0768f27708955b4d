package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// happenings is an ordered record of what happened, as reported by handlers that run concurrently.
type happenings chan string

func newHappenings() happenings { return make(happenings, 1000) }

func (h happenings) say(format string, values ...any) { h <- fmt.Sprintf(format, values...) }

// expect checks that the next happenings are these, in this order.
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

// equal returns an error unless got equals expected.
func equal[T any](what string, got, expected T) error {
	if reflect.DeepEqual(got, expected) {
		return nil
	}
	return fmt.Errorf("%s is %+v, not %+v", what, got, expected)
}

// refused returns an error unless err is of the expected kind.
func refused(what string, err error, kind func(error) bool) error {
	if err == nil {
		return fmt.Errorf("%s succeeded", what)
	}
	if !kind(err) {
		return fmt.Errorf("%s failed otherwise: %w", what, err)
	}
	return nil
}

// eventually waits until the probe succeeds. If it does not, it returns the probe's last error.
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

// steps runs steps until one fails, and returns its error with the step's name.
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
