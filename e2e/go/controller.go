package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	acorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	controllerruntime "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const finalizer = "suite.example.com/cleanup"

// reconciler keeps a ConfigMap of the same name for each widget, and reports progress in the widget's status. A finalizer
// keeps the widget until its deletion has been recorded.
type reconciler struct {
	client.Client
	said happenings
}

func (r *reconciler) Reconcile(ctx context.Context, request controllerruntime.Request) (controllerruntime.Result, error) {
	var widget Widget
	if err := r.Get(ctx, request.NamespacedName, &widget); err != nil {
		if apierrors.IsNotFound(err) {
			r.said.say("%s is gone", request.Name)
		}
		return controllerruntime.Result{}, client.IgnoreNotFound(err)
	}
	if !widget.DeletionTimestamp.IsZero() {
		if controllerutil.RemoveFinalizer(&widget, finalizer) {
			// The cache may still contain a widget that has already been removed: then the update is refused.
			if err := r.Update(ctx, &widget); err != nil {
				return controllerruntime.Result{}, err
			}
			r.said.say("%s is cleaned up", widget.Name)
		}
		return controllerruntime.Result{}, nil
	}
	if controllerutil.AddFinalizer(&widget, finalizer) {
		if err := r.Update(ctx, &widget); err != nil {
			return controllerruntime.Result{}, err
		}
	}
	owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: widget.Namespace, Name: widget.Name}}
	done, err := controllerutil.CreateOrUpdate(ctx, r.Client, owned, func() error {
		owned.Data = map[string]string{"size": widget.Spec.Size}
		return controllerutil.SetControllerReference(&widget, owned, r.Scheme())
	})
	if err != nil {
		return controllerruntime.Result{}, err
	}
	if done != controllerutil.OperationResultNone {
		r.said.say("%s is %s", widget.Name, done)
	}
	if phase := "Ready"; widget.Status.Phase != phase {
		widget.Status.Phase = phase
		return controllerruntime.Result{}, r.Status().Update(ctx, &widget)
	}
	return controllerruntime.Result{}, nil
}

// newManager creates a manager for one namespace, which does not listen on any port.
func newManager(env env, name string, elect bool) (manager.Manager, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	duration, renew, pause := term, term-time.Second, 100*time.Millisecond
	anew := true
	options := manager.Options{
		Scheme:                        scheme,
		Logger:                        logr.Discard(),
		Cache:                         cache.Options{DefaultNamespaces: map[string]cache.Config{env.namespace: {}}},
		Metrics:                       server.Options{BindAddress: "0"},
		LeaderElection:                elect,
		LeaderElectionID:              "widgets.suite.example.com",
		LeaderElectionNamespace:       env.namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &duration,
		RenewDeadline:                 &renew,
		RetryPeriod:                   &pause,
	}
	// Several managers run in this process.
	options.Controller.SkipNameValidation = &anew
	return manager.New(env.config, options)
}

// start runs the manager until stop is called, which returns the manager's error.
func start(ctx context.Context, manager manager.Manager) (stop func() error) {
	running, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(running) }()
	return func() error {
		cancel()
		return <-ended
	}
}

func control(manager manager.Manager, said happenings) error {
	return controllerruntime.NewControllerManagedBy(manager).For(&Widget{}).Owns(&corev1.ConfigMap{}).
		Complete(&reconciler{manager.GetClient(), said})
}

// controllerLoop tests a typical controller: create, watch, update and delete; an index, a finalizer, owned objects and
// status.
func controllerLoop(ctx context.Context, env env) (err error) {
	manager, err := newManager(env, "one", false)
	if err != nil {
		return err
	}
	said := newHappenings()
	if err := control(manager, said); err != nil {
		return err
	}
	bySize := func(object client.Object) []string { return []string{object.(*Widget).Spec.Size} }
	if err := manager.GetFieldIndexer().IndexField(ctx, &Widget{}, "spec.size", bySize); err != nil {
		return err
	}
	stop := start(ctx, manager)
	defer func() { err = errors.Join(err, stop()) }()
	objects := manager.GetClient()
	one := &Widget{ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: "one"}, Spec: WidgetSpec{Size: "small"}}
	key := client.ObjectKeyFromObject(one)
	owned := func(ctx context.Context) (*corev1.ConfigMap, error) {
		var found corev1.ConfigMap
		return &found, manager.GetAPIReader().Get(ctx, key, &found)
	}

	return steps(ctx,
		step{"create", func(ctx context.Context) error {
			if err := objects.Create(ctx, one); err != nil {
				return err
			}
			if err := said.expect(ctx, "one is created"); err != nil {
				return err
			}
			found, err := owned(ctx)
			if err != nil {
				return err
			}
			return errors.Join(equal("the size", found.Data["size"], "small"), equal("the owner", metav1.IsControlledBy(found, one), true))
		}},
		step{"status", func(ctx context.Context) error {
			return eventually(ctx, func(ctx context.Context) error {
				var now Widget
				if err := objects.Get(ctx, key, &now); err != nil {
					return err
				}
				// Neither the finalizer nor the status increases the generation.
				return errors.Join(equal("the phase", now.Status.Phase, "Ready"), equal("the generation", now.Generation, 1))
			})
		}},
		step{"the index", func(ctx context.Context) error {
			two := &Widget{ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: "two"}, Spec: WidgetSpec{Size: "large"}}
			if err := objects.Create(ctx, two); err != nil {
				return err
			}
			if err := said.expect(ctx, "two is created"); err != nil {
				return err
			}
			var large WidgetList
			if err := objects.List(ctx, &large, client.InNamespace(env.namespace), client.MatchingFields{"spec.size": "large"}); err != nil {
				return err
			}
			return equal("large ones", len(large.Items), 1)
		}},
		step{"update", func(ctx context.Context) error {
			patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"size":"tiny"}}`))
			if err := objects.Patch(ctx, one, patch); err != nil {
				return err
			}
			return said.expect(ctx, "one is updated")
		}},
		step{"an owned object that was changed is restored", func(ctx context.Context) error {
			found, err := owned(ctx)
			if err != nil {
				return err
			}
			before := found.DeepCopy()
			found.Data["size"] = "wrong"
			if err := objects.Patch(ctx, found, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
				return err
			}
			return said.expect(ctx, "one is updated")
		}},
		step{"an owned object that was deleted is recreated", func(ctx context.Context) error {
			found, err := owned(ctx)
			if err != nil {
				return err
			}
			if err := objects.Delete(ctx, found); err != nil {
				return err
			}
			return said.expect(ctx, "one is created")
		}},
		step{"delete", func(ctx context.Context) error {
			if err := objects.Delete(ctx, one); err != nil {
				return err
			}
			return said.expect(ctx, "one is cleaned up", "one is gone")
		}},
		step{"its owned object is collected", func(ctx context.Context) error {
			return eventually(ctx, func(ctx context.Context) error {
				_, err := owned(ctx)
				return refused("a get", err, apierrors.IsNotFound)
			})
		}},
	)
}

// controllerLeaders runs two managers of one controller: the second does nothing until the first has ended.
func controllerLeaders(ctx context.Context, env env) error {
	said := [2]happenings{newHappenings(), newHappenings()}
	var stops [2]func() error
	for i := range said {
		manager, err := newManager(env, fmt.Sprint(i), true)
		if err != nil {
			return err
		}
		if err := control(manager, said[i]); err != nil {
			return err
		}
		stop := start(ctx, manager)
		stops[i] = stop
		if i == 0 {
			select {
			case <-manager.Elected():
			case <-ctx.Done():
				return errors.Join(ctx.Err(), stop())
			}
		}
	}
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	objects, err := client.New(env.config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	create := func(ctx context.Context, name string) error {
		meta := metav1.ObjectMeta{Namespace: env.namespace, Name: name}
		return objects.Create(ctx, &Widget{ObjectMeta: meta, Spec: WidgetSpec{Size: "small"}})
	}
	err = steps(ctx,
		step{"the first leads", func(ctx context.Context) error {
			return errors.Join(create(ctx, "one"), said[0].expect(ctx, "one is created"))
		}},
		step{"hand over", func(context.Context) error {
			return errors.Join(stops[0](), equal("what the second has done", len(said[1]), 0))
		}},
		step{"the second leads", func(ctx context.Context) error {
			return errors.Join(create(ctx, "two"), said[1].expect(ctx, "two is created"))
		}},
	)
	return errors.Join(err, stops[1]())
}

// controllerClient tests controller-runtime's client with typed, unstructured and partial objects.
func controllerClient(ctx context.Context, env env) error {
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	objects, err := client.New(env.config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	objects = client.NewNamespacedClient(objects, env.namespace)
	one := &Widget{ObjectMeta: metav1.ObjectMeta{Name: "one", Labels: labelled}, Spec: WidgetSpec{Size: "small"}}
	key := client.ObjectKey{Namespace: env.namespace, Name: "one"}

	return steps(ctx,
		step{"dry run", func(ctx context.Context) error {
			if err := client.NewDryRunClient(objects).Create(ctx, one.DeepCopyObject().(*Widget)); err != nil {
				return err
			}
			return refused("a get", objects.Get(ctx, key, &Widget{}), apierrors.IsNotFound)
		}},
		step{"typed", func(ctx context.Context) error {
			if err := objects.Create(ctx, one); err != nil {
				return err
			}
			return equal("the default of replicas", *one.Spec.Replicas, 1)
		}},
		step{"unstructured", func(ctx context.Context) error {
			found := &unstructured.Unstructured{}
			found.SetGroupVersionKind(widgetKind)
			if err := objects.Get(ctx, key, found); err != nil {
				return err
			}
			before := found.DeepCopy()
			if err := unstructured.SetNestedField(found.Object, "large", "spec", "size"); err != nil {
				return err
			}
			return objects.Patch(ctx, found, client.MergeFrom(before))
		}},
		step{"an old object", func(ctx context.Context) error {
			one.Spec.Size = "tiny"
			return refused("the update", objects.Update(ctx, one), apierrors.IsConflict)
		}},
		step{"only metadata", func(ctx context.Context) error {
			list := &metav1.PartialObjectMetadataList{}
			list.SetGroupVersionKind(widgetKind.GroupVersion().WithKind("WidgetList"))
			if err := objects.List(ctx, list, client.MatchingLabels(labelled)); err != nil {
				return err
			}
			return errors.Join(equal("objects", len(list.Items), 1), equal("the kind", list.Items[0].GroupVersionKind(), widgetKind))
		}},
		step{"a selectable field", func(ctx context.Context) error {
			var large, small WidgetList
			if err := objects.List(ctx, &large, client.MatchingFields{"spec.size": "large"}); err != nil {
				return err
			}
			if err := objects.List(ctx, &small, client.MatchingFields{"spec.size": "small"}); err != nil {
				return err
			}
			return equal("large and small ones", [2]int{len(large.Items), len(small.Items)}, [2]int{1, 0})
		}},
		step{"status", func(ctx context.Context) error {
			if err := objects.Get(ctx, key, one); err != nil {
				return err
			}
			before := one.DeepCopyObject().(*Widget)
			one.Status.Phase, one.Spec.Size = "Ready", "tiny"
			if err := objects.Status().Patch(ctx, one, client.MergeFrom(before)); err != nil {
				return err
			}
			return equal("phase and size", one.Status.Phase+" "+one.Spec.Size, "Ready large")
		}},
		step{"apply", func(ctx context.Context) error {
			applied := acorev1.ConfigMap("applied", env.namespace).WithData(map[string]string{"a": "b"}).WithLabels(labelled)
			if err := objects.Apply(ctx, applied, client.FieldOwner("ann")); err != nil {
				return err
			}
			other := acorev1.ConfigMap("applied", env.namespace).WithData(map[string]string{"a": "c"})
			err := objects.Apply(ctx, other, client.FieldOwner("bob"))
			if err := refused("an apply of another's field", err, apierrors.IsConflict); err != nil {
				return err
			}
			return objects.Apply(ctx, other, client.FieldOwner("bob"), client.ForceOwnership)
		}},
		step{"create or patch", func(ctx context.Context) error {
			object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: "patched"}}
			for _, expected := range []controllerutil.OperationResult{controllerutil.OperationResultCreated, controllerutil.OperationResultNone} {
				done, err := controllerutil.CreateOrPatch(ctx, objects, object, func() error {
					object.Data = map[string]string{"a": "b"}
					return nil
				})
				if err := errors.Join(err, equal("what was done", done, expected)); err != nil {
					return err
				}
			}
			return nil
		}},
		step{"an invalid object", func(ctx context.Context) error {
			bad := &Widget{ObjectMeta: metav1.ObjectMeta{Name: "bad"}, Spec: WidgetSpec{Size: "huge"}}
			return refused("the create", objects.Create(ctx, bad), apierrors.IsInvalid)
		}},
		step{"an unknown type", func(ctx context.Context) error {
			nothing := &unstructured.Unstructured{}
			nothing.SetGroupVersionKind(widgetKind.GroupVersion().WithKind("Nothing"))
			return refused("the get", objects.Get(ctx, key, nothing), func(err error) bool { return !runtime.IsNotRegisteredError(err) })
		}},
		step{"delete all", func(ctx context.Context) error {
			if err := objects.DeleteAllOf(ctx, &Widget{}, client.InNamespace(env.namespace), client.MatchingLabels(labelled)); err != nil {
				return err
			}
			return eventually(ctx, func(ctx context.Context) error {
				return refused("a get", objects.Get(ctx, key, one), apierrors.IsNotFound)
			})
		}},
	)
}

var widgetKind = widgets.GroupVersion().WithKind("Widget")
