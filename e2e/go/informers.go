package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

var widgets = schema.GroupVersionResource{Group: "suite.example.com", Version: "v1", Resource: "widgets"}

// requests records the requests of a client.
type requests struct {
	next  http.RoundTripper
	mutex sync.Mutex
	urls  []string
}

func (r *requests) RoundTrip(request *http.Request) (*http.Response, error) {
	r.mutex.Lock()
	r.urls = append(r.urls, request.Method+" "+request.URL.RequestURI())
	r.mutex.Unlock()
	return r.next.RoundTrip(request)
}

// to returns the requests for a resource.
func (r *requests) to(resource string) []string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	var found []string
	for _, url := range r.urls {
		if strings.Contains(url, "/"+resource) {
			found = append(found, url)
		}
	}
	return found
}

// observed returns a copy of the configuration, and a record of the requests that are made with it.
func observed(config *rest.Config) (*rest.Config, *requests) {
	seen := &requests{}
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		seen.next = next
		return seen
	})
	return config, seen
}

// beganWithWatchList checks that an informer used a watch-list: informers of client-go 0.37 begin with one, and fall back to a
// list if it is refused.
func (r *requests) beganWithWatchList(resource string) error {
	asked := r.to(resource)
	if len(asked) == 0 || !strings.Contains(asked[0], "sendInitialEvents=true") {
		return fmt.Errorf("the informer did not begin with a watch that lists: %q", asked)
	}
	for _, url := range asked[1:] {
		if !strings.Contains(url, "watch=true") {
			return fmt.Errorf("the informer fell back to a list: %q", asked)
		}
	}
	return nil
}

// telling returns handlers that record the notifications of an informer for objects of any type.
func telling(said happenings, describe func(object any) string) cache.ResourceEventHandlerDetailedFuncs {
	return cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(object any, initial bool) {
			if initial {
				said.say("initial %s", describe(object))
			} else {
				said.say("added %s", describe(object))
			}
		},
		UpdateFunc: func(old, object any) { said.say("updated %s to %s", describe(old), describe(object)) },
		DeleteFunc: func(object any) { said.say("deleted %s", describe(object)) },
	}
}

func typedInformer(ctx context.Context, env env) error {
	config, asked := observed(env.config)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	maps := client.CoreV1().ConfigMaps(env.namespace)
	configMap := func(name, tier, color string) *corev1.ConfigMap {
		meta := metav1.ObjectMeta{Name: name, Labels: map[string]string{"tier": tier}}
		return &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"color": color}}
	}
	for _, object := range []*corev1.ConfigMap{configMap("one", "front", "red"), configMap("two", "back", "red")} {
		if _, err := kubernetes.NewForConfigOrDie(env.config).CoreV1().ConfigMaps(env.namespace).Create(ctx, object, metav1.CreateOptions{}); err != nil {
			return err
		}
	}

	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(env.namespace),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = "tier=front" }))
	informer := factory.Core().V1().ConfigMaps()
	said := newHappenings()
	describe := func(object any) string {
		switch object := object.(type) {
		case *corev1.ConfigMap:
			return object.Name + " " + object.Data["color"]
		default:
			return fmt.Sprintf("%T", object)
		}
	}
	byColor := func(object any) ([]string, error) { return []string{object.(*corev1.ConfigMap).Data["color"]}, nil }
	if err := informer.Informer().AddIndexers(cache.Indexers{"color": byColor}); err != nil {
		return err
	}
	if _, err := informer.Informer().AddEventHandler(telling(said, describe)); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	factory.StartWithContext(running)
	defer factory.Shutdown()
	defer stop()
	factory.WaitForCacheSync(running.Done())
	if err := said.expect(ctx, "initial one red"); err != nil {
		return err
	}
	if err := asked.beganWithWatchList("configmaps"); err != nil {
		return err
	}

	return steps(ctx,
		step{"create", func(ctx context.Context) error {
			if _, err := maps.Create(ctx, configMap("three", "front", "green"), metav1.CreateOptions{}); err != nil {
				return err
			}
			return said.expect(ctx, "added three green")
		}},
		step{"update", func(ctx context.Context) error {
			if _, err := maps.Update(ctx, configMap("three", "front", "blue"), metav1.UpdateOptions{}); err != nil {
				return err
			}
			return said.expect(ctx, "updated three green to three blue")
		}},
		step{"a write that changes nothing", func(ctx context.Context) error {
			_, err := maps.Update(ctx, configMap("three", "front", "blue"), metav1.UpdateOptions{})
			return err
		}},
		step{"one enters the selection", func(ctx context.Context) error {
			patch := []byte(`{"metadata":{"labels":{"tier":"front"}}}`)
			if _, err := maps.Patch(ctx, "two", types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
				return err
			}
			return said.expect(ctx, "added two red")
		}},
		step{"the index", func(context.Context) error {
			found, err := informer.Informer().GetIndexer().ByIndex("color", "red")
			if err != nil {
				return err
			}
			return equal("the number of red ones", len(found), 2)
		}},
		step{"one leaves the selection", func(ctx context.Context) error {
			patch := []byte(`[{"op":"remove","path":"/metadata/labels/tier"}]`)
			if _, err := maps.Patch(ctx, "one", types.JSONPatchType, patch, metav1.PatchOptions{}); err != nil {
				return err
			}
			return said.expect(ctx, "deleted one red")
		}},
		step{"delete", func(ctx context.Context) error {
			if err := maps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "tier"}); err != nil {
				return err
			}
			for range 2 {
				select {
				case happened := <-said:
					if !strings.HasPrefix(happened, "deleted ") {
						return fmt.Errorf("%q happened", happened)
					}
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			left, err := informer.Lister().ConfigMaps(env.namespace).List(labels.Everything())
			if err != nil {
				return err
			}
			return equal("the number of cached objects", len(left), 0)
		}},
	)
}

// widget returns a widget as used by programs that do not have its Go type.
func widget(name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "suite.example.com/v1",
		"kind":       "Widget",
		"metadata":   map[string]any{"name": name},
		"spec":       spec,
	}}
}

func dynamicInformer(ctx context.Context, env env) error {
	config, asked := observed(env.config)
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	objects := client.Resource(widgets).Namespace(env.namespace)
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(client, 0, env.namespace, nil)
	informer := factory.ForResource(widgets).Informer()
	said := newHappenings()
	describe := func(object any) string {
		widget := object.(*unstructured.Unstructured)
		size, _, _ := unstructured.NestedString(widget.Object, "spec", "size")
		return widget.GetName() + " " + size
	}
	if _, err := informer.AddEventHandler(telling(said, describe)); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	factory.Start(running.Done())
	defer factory.Shutdown()
	defer stop()
	if !cache.WaitForCacheSync(running.Done(), informer.HasSynced) {
		return fmt.Errorf("the cache did not sync")
	}
	if err := asked.beganWithWatchList("widgets"); err != nil {
		return err
	}
	created, err := objects.Create(ctx, widget("one", map[string]any{"size": "small"}), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if err := said.expect(ctx, "added one small"); err != nil {
		return err
	}
	if err := unstructured.SetNestedField(created.Object, "large", "spec", "size"); err != nil {
		return err
	}
	if _, err := objects.Update(ctx, created, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if err := said.expect(ctx, "updated one small to one large"); err != nil {
		return err
	}
	if err := objects.Delete(ctx, "one", metav1.DeleteOptions{}); err != nil {
		return err
	}
	return said.expect(ctx, "deleted one large")
}

// metadataInformer watches only metadata, as the garbage collector and controller-runtime's OnlyMetadata do.
func metadataInformer(ctx context.Context, env env) error {
	config, asked := observed(env.config)
	client, err := metadata.NewForConfig(config)
	if err != nil {
		return err
	}
	objects := dynamic.NewForConfigOrDie(env.config).Resource(widgets).Namespace(env.namespace)
	if _, err := objects.Create(ctx, widget("one", map[string]any{"size": "small"}), metav1.CreateOptions{}); err != nil {
		return err
	}
	factory := metadatainformer.NewFilteredSharedInformerFactory(client, 0, env.namespace, nil)
	informer := factory.ForResource(widgets).Informer()
	said := newHappenings()
	describe := func(object any) string {
		meta := object.(*metav1.PartialObjectMetadata)
		return meta.Name + " " + meta.Labels["color"]
	}
	if _, err := informer.AddEventHandler(telling(said, describe)); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	factory.Start(running.Done())
	defer factory.Shutdown()
	defer stop()
	if err := said.expect(ctx, "initial one "); err != nil {
		return err
	}
	if err := asked.beganWithWatchList("widgets"); err != nil {
		return err
	}
	patch := []byte(`{"metadata":{"labels":{"color":"red"}}}`)
	patched, err := client.Resource(widgets).Namespace(env.namespace).Patch(ctx, "one", types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return err
	}
	if err := equal("the patched label", patched.Labels["color"], "red"); err != nil {
		return err
	}
	if err := said.expect(ctx, "updated one  to one red"); err != nil {
		return err
	}
	if err := client.Resource(widgets).Namespace(env.namespace).Delete(ctx, "one", metav1.DeleteOptions{}); err != nil {
		return err
	}
	return said.expect(ctx, "deleted one red")
}

// retryWatcher tests watchtools.RetryWatcher, which resumes where a watch ended, and UntilWithSync, which is based on an
// informer.
func retryWatcher(ctx context.Context, env env) error {
	client, err := kubernetes.NewForConfig(env.config)
	if err != nil {
		return err
	}
	pods := client.CoreV1().Pods(env.namespace)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "one"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
	created, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	selected := func(options *metav1.ListOptions) { options.FieldSelector = "metadata.name=one" }
	watched := cache.NewFilteredListWatchFromClient(client.CoreV1().RESTClient(), "pods", env.namespace, selected)
	// Each watch ends after a second, and the watcher resumes from where it was.
	seconds := int64(1)
	short := &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
		options.TimeoutSeconds = &seconds
		selected(&options)
		return pods.Watch(ctx, options)
	}}
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, created.ResourceVersion, short)
	if err != nil {
		return err
	}
	defer watcher.Stop()
	begun := time.Now()
	for round := range 3 {
		// The rounds are more than a second apart, so that the previous watch has ended.
		select {
		case <-time.After(time.Until(begun.Add(time.Duration(round) * 1500 * time.Millisecond))):
		case <-ctx.Done():
			return ctx.Err()
		}
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"round":"%d"}}}`, round)
		if _, err := pods.Patch(ctx, "one", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return err
		}
		select {
		case event := <-watcher.ResultChan():
			got, _ := event.Object.(*corev1.Pod)
			if event.Type != watch.Modified || got == nil || got.Annotations["round"] != fmt.Sprint(round) {
				return fmt.Errorf("round %d: %+v", round, event)
			}
		case <-ctx.Done():
			return fmt.Errorf("round %d: %w", round, ctx.Err())
		}
	}

	gone := make(chan error, 1)
	go func() {
		already := func(store cache.Store) (bool, error) { return len(store.List()) == 0, nil }
		_, err := watchtools.UntilWithSync(ctx, watched, &corev1.Pod{}, already, func(event watch.Event) (bool, error) {
			return event.Type == watch.Deleted, nil
		})
		gone <- err
	}()
	now := int64(0)
	if err := pods.Delete(ctx, "one", metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		return err
	}
	return <-gone
}
