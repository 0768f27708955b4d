// Measures a client-go informer until it has synced, and prints a line of JSON for `cargo xtask bench sync`.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

var blogs = schema.GroupVersionResource{Group: "web.helloworld", Version: "v1", Resource: "blogs"}

// Blog is the type as kubebuilder generates it.
type Blog struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              BlogSpec   `json:"spec,omitempty"`
	Status            BlogStatus `json:"status,omitempty"`
}

type BlogSpec struct {
	URL string `json:"url"`
}

type BlogStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

type BlogList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Blog `json:"items"`
}

func (b *Blog) DeepCopyObject() apiruntime.Object {
	out := &Blog{TypeMeta: b.TypeMeta, Spec: b.Spec, Status: b.Status}
	b.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Status.Conditions = append([]metav1.Condition(nil), b.Status.Conditions...)
	return out
}

func (l *BlogList) DeepCopyObject() apiruntime.Object {
	out := &BlogList{TypeMeta: l.TypeMeta, Items: make([]Blog, len(l.Items))}
	l.ListMeta.DeepCopyInto(&out.ListMeta)
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopyObject().(*Blog)
	}
	return out
}

// sample is the line that the command reads; see src/usage.rs.
type sample struct {
	Objects        int     `json:"objects"`
	CPUSeconds     float64 `json:"cpu_seconds"`
	WallSeconds    float64 `json:"wall_seconds"`
	ResidentBefore int64   `json:"resident_before"`
	ResidentAfter  int64   `json:"resident_after"`
	Peak           int64   `json:"peak"`
	LiveHeap       uint64  `json:"live_heap"`
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "path of the kubeconfig")
	namespace := flag.String("namespace", "", "namespace to watch")
	client := flag.String("client", "", "typed, stripped or dynamic")
	flag.Parse()
	if err := run(*kubeconfig, *namespace, *client); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(kubeconfig, namespace, client string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.DisableCompression = true
	config.QPS = -1

	var result sample
	if result.ResidentBefore, err = memory("VmRSS"); err != nil {
		return err
	}
	cpu, err := cpuSeconds()
	if err != nil {
		return err
	}
	start := time.Now()

	informer, err := newInformer(config, namespace, client)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go informer.RunWithContext(ctx)
	<-informer.HasSyncedChecker().Done()

	result.WallSeconds = time.Since(start).Seconds()
	synced, err := cpuSeconds()
	if err != nil {
		return err
	}
	result.CPUSeconds = synced - cpu
	time.Sleep(time.Second)
	// Only the live heap; the collector keeps pages that it may need again.
	runtime.GC()
	var heap runtime.MemStats
	runtime.ReadMemStats(&heap)
	result.LiveHeap = heap.HeapAlloc
	if result.ResidentAfter, err = memory("VmRSS"); err != nil {
		return err
	}
	if result.Peak, err = memory("VmHWM"); err != nil {
		return err
	}
	result.Objects = len(informer.GetStore().ListKeys())
	return json.NewEncoder(os.Stdout).Encode(result)
}

func newInformer(config *rest.Config, namespace, client string) (cache.SharedIndexInformer, error) {
	switch client {
	case "typed":
		return typed(config, namespace)
	case "stripped":
		informer, err := typed(config, namespace)
		if err != nil {
			return nil, err
		}
		return informer, informer.SetTransform(stripManagedFields)
	case "dynamic":
		dynamicClient, err := dynamic.NewForConfig(config)
		if err != nil {
			return nil, err
		}
		factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(dynamicClient, 0, namespace, nil)
		return factory.ForResource(blogs).Informer(), nil
	default:
		return nil, fmt.Errorf("unknown client %q", client)
	}
}

func typed(config *rest.Config, namespace string) (cache.SharedIndexInformer, error) {
	scheme := apiruntime.NewScheme()
	scheme.AddKnownTypes(blogs.GroupVersion(), &Blog{}, &BlogList{})
	metav1.AddToGroupVersion(scheme, blogs.GroupVersion())
	groupVersion := blogs.GroupVersion()
	config.GroupVersion = &groupVersion
	config.APIPath = "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	options := func(o *metav1.ListOptions) {}
	listWatch := cache.NewFilteredListWatchFromClient(client, blogs.Resource, namespace, options)
	return cache.NewSharedIndexInformer(listWatch, &Blog{}, 0, cache.Indexers{}), nil
}

func stripManagedFields(object any) (any, error) {
	accessor, err := meta.Accessor(object)
	if err != nil {
		return nil, err
	}
	accessor.SetManagedFields(nil)
	return object, nil
}

func cpuSeconds() (float64, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime), nil
}

// memory returns a field of /proc/self/status in bytes.
func memory(field string) (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, field+":"); found {
			var kilobytes int64
			if _, err := fmt.Sscanf(strings.TrimSpace(value), "%d kB", &kilobytes); err != nil {
				return 0, fmt.Errorf("%s in /proc/self/status: %w", field, err)
			}
			return kilobytes * 1024, nil
		}
	}
	return 0, fmt.Errorf("no %s in /proc/self/status", field)
}
