// Measures a client-go informer until it has synced, and prints a line of JSON for `cargo xtask bench sync`.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"peers/internal/blog"
	"peers/internal/usage"
)

var blogs = blog.GroupVersion.WithResource("blogs")

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

	start, err := usage.Now()
	if err != nil {
		return err
	}
	informer, err := newInformer(config, namespace, client)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go informer.RunWithContext(ctx)
	<-informer.HasSyncedChecker().Done()

	result, err := start.Synced()
	if err != nil {
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
	blog.AddToScheme(scheme)
	groupVersion := blog.GroupVersion
	config.GroupVersion = &groupVersion
	config.APIPath = "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	options := func(o *metav1.ListOptions) {}
	listWatch := cache.NewFilteredListWatchFromClient(client, blogs.Resource, namespace, options)
	return cache.NewSharedIndexInformer(listWatch, &blog.Blog{}, 0, cache.Indexers{}), nil
}

func stripManagedFields(object any) (any, error) {
	accessor, err := meta.Accessor(object)
	if err != nil {
		return nil, err
	}
	accessor.SetManagedFields(nil)
	return object, nil
}
