package main

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/record"
)

// recordedEvents uses both of client-go's recorders: each reports the same thing repeatedly, which results in one Event with
// a count or a series.
func recordedEvents(ctx context.Context, env env) error {
	client, err := protobufClient(env)
	if err != nil {
		return err
	}
	maps := client.CoreV1().ConfigMaps(env.namespace)
	about, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "one"}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	counting := record.NewBroadcaster(record.WithContext(ctx))
	defer counting.Shutdown()
	counting.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events(env.namespace)})
	recorder := counting.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "old"})
	for range 3 {
		recorder.Event(about, corev1.EventTypeNormal, "Old", "told")
	}
	err = eventually(ctx, func(ctx context.Context) error {
		list, err := client.CoreV1().Events(env.namespace).Search(scheme.Scheme, about)
		if err != nil {
			return err
		}
		if len(list.Items) != 1 {
			return fmt.Errorf("%d events", len(list.Items))
		}
		event := list.Items[0]
		return errors.Join(equal("the count", event.Count, 3), equal("the reason", event.Reason, "Old"))
	})
	if err != nil {
		return err
	}

	series := events.NewBroadcaster(&events.EventSinkImpl{Interface: client.EventsV1()})
	defer series.Shutdown()
	if err := series.StartRecordingToSinkWithContext(ctx); err != nil {
		return err
	}
	reporter := series.NewRecorder(scheme.Scheme, "example.com/new")
	// These are reported one after the other: the recorder sends concurrently, and waits for 10 s if the second overtakes the
	// first.
	for _, again := range []bool{false, true} {
		reporter.Eventf(about, nil, corev1.EventTypeWarning, "New", "Testing", "told")
		err := eventually(ctx, func(ctx context.Context) error {
			list, err := client.EventsV1().Events(env.namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=New"})
			if err != nil {
				return err
			}
			if len(list.Items) != 1 {
				return fmt.Errorf("%d events", len(list.Items))
			}
			event := list.Items[0]
			return errors.Join(
				equal("the note", event.Note, "told"),
				equal("the action", event.Action, "Testing"),
				equal("a series", event.Series != nil, again))
		})
		if err != nil {
			return err
		}
	}
	return nil
}
