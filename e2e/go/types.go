package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
)

// discover tests discovery, aggregated and unaggregated, and the mappers that are built on it.
func discover(ctx context.Context, env env) error {
	client, err := discovery.NewDiscoveryClientForConfig(env.config)
	if err != nil {
		return err
	}
	version, err := client.ServerVersion()
	if err != nil {
		return err
	}
	groups, resources, err := client.ServerGroupsAndResources()
	if err != nil {
		return err
	}
	legacy, err := discovery.NewDiscoveryClientForConfig(env.config)
	if err != nil {
		return err
	}
	legacy.UseLegacyDiscovery = true
	oldGroups, oldResources, err := legacy.ServerGroupsAndResources()
	if err != nil {
		return err
	}
	named := func(lists []*metav1.APIResourceList) []string {
		var names []string
		for _, list := range lists {
			for _, resource := range list.APIResources {
				names = append(names, list.GroupVersion+" "+resource.Name+" "+resource.Kind)
			}
		}
		slices.Sort(names)
		return names
	}
	preferred, err := client.ServerPreferredNamespacedResources()
	if err != nil {
		return err
	}
	if !slices.Contains(named(preferred), "suite.example.com/v1 widgets Widget") {
		return errors.New("widgets are not among the preferred resources")
	}
	documents, err := client.OpenAPIV3().Paths()
	if err != nil {
		return err
	}
	document, known := documents["apis/suite.example.com/v1"]
	if !known {
		return errors.New("there is no OpenAPI document for widgets")
	}
	if _, err := document.Schema("application/json"); err != nil {
		return err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client))
	kind, err := mapper.KindFor(schema.GroupVersionResource{Resource: "deployments"})
	if err != nil {
		return err
	}
	mapping, err := mapper.RESTMapping(schema.GroupKind{Group: "suite.example.com", Kind: "Widget"})
	if err != nil {
		return err
	}
	short := restmapper.NewShortcutExpander(mapper, client, func(string) {})
	resource, err := short.ResourceFor(schema.GroupVersionResource{Resource: "wd"})
	if err != nil {
		return err
	}
	_, err = mapper.KindFor(schema.GroupVersionResource{Resource: "nothings"})
	return errors.Join(
		equal("the major version", version.Major, "1"),
		equal("groups", len(groups), len(oldGroups)),
		equal("resources", named(resources), named(oldResources)),
		equal("a kind", kind, schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}),
		equal("a scope", mapping.Scope.Name(), meta.RESTScopeNameNamespace),
		equal("a short name", resource, widgets),
		refused("a kind for nothing", err, meta.IsNoMatchError))
}

// newType tests a type that is installed, found by an existing mapper, and removed.
func newType(ctx context.Context, env env) error {
	client, err := apiextensions.NewForConfig(env.config)
	if err != nil {
		return err
	}
	found, err := discovery.NewDiscoveryClientForConfig(env.config)
	if err != nil {
		return err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(found))
	group := env.namespace + ".example.com"
	gizmo := schema.GroupKind{Group: group, Kind: "Gizmo"}
	if _, err := mapper.RESTMapping(gizmo); !meta.IsNoMatchError(err) {
		return fmt.Errorf("a mapping of an unknown type: %v", err)
	}
	preserve := true
	crd := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "gizmos." + group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: group,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "gizmos", Kind: "Gizmo"},
			Scope: apiextensionsv1.ClusterScoped,
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object", XPreserveUnknownFields: &preserve,
				}},
			}},
		},
	}
	definitions := client.ApiextensionsV1().CustomResourceDefinitions()
	if _, err := definitions.Create(ctx, crd, metav1.CreateOptions{}); err != nil {
		return err
	}
	var mapping *meta.RESTMapping
	err = eventually(ctx, func(ctx context.Context) error {
		mapper.Reset()
		mapping, err = mapper.RESTMapping(gizmo)
		return err
	})
	if err != nil {
		return err
	}
	objects := dynamic.NewForConfigOrDie(env.config).Resource(mapping.Resource)
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": group + "/v1", "kind": "Gizmo", "metadata": map[string]any{"name": "one"}, "spec": map[string]any{"a": int64(1)},
	}}
	// Discovery may list the type before it is served.
	err = eventually(ctx, func(ctx context.Context) error {
		_, err := objects.Create(ctx, object, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return err
	}
	if err := definitions.Delete(ctx, crd.Name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return eventually(ctx, func(ctx context.Context) error {
		mapper.Reset()
		_, err := mapper.RESTMapping(gizmo)
		return refused("a mapping", err, meta.IsNoMatchError)
	})
}

// scaleClient tests the client that scales any resource with a scale subresource.
func scaleClient(ctx context.Context, env env) error {
	client, err := protobufClient(env)
	if err != nil {
		return err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	resolver := scale.NewDiscoveryScaleKindResolver(client.Discovery())
	scales, err := scale.NewForConfig(env.config, mapper, dynamic.LegacyAPIPathResolverFunc, resolver)
	if err != nil {
		return err
	}
	objects := dynamic.NewForConfigOrDie(env.config)
	if _, err := objects.Resource(widgets).Namespace(env.namespace).Create(ctx, widget("one", map[string]any{"size": "small"}), metav1.CreateOptions{}); err != nil {
		return err
	}
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	deployment := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "one"},
		"spec": map[string]any{
			"selector": map[string]any{"matchLabels": map[string]any{"app": "x"}},
			"template": map[string]any{
				"metadata": map[string]any{"labels": map[string]any{"app": "x"}},
				"spec":     map[string]any{"containers": []any{map[string]any{"name": "c", "image": "i"}}},
			},
		},
	}}
	if _, err := objects.Resource(deployments).Namespace(env.namespace).Create(ctx, deployment, metav1.CreateOptions{}); err != nil {
		return err
	}
	for _, resource := range []schema.GroupVersionResource{widgets, deployments} {
		scaled := resource.GroupResource()
		now, err := scales.Scales(env.namespace).Get(ctx, scaled, "one", metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("%s: %w", scaled, err)
		}
		now.Spec.Replicas += 2
		if _, err := scales.Scales(env.namespace).Update(ctx, scaled, now, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("%s: %w", scaled, err)
		}
		object, err := objects.Resource(resource).Namespace(env.namespace).Get(ctx, "one", metav1.GetOptions{})
		if err != nil {
			return err
		}
		replicas, _, err := unstructured.NestedInt64(object.Object, "spec", "replicas")
		if err != nil {
			return err
		}
		if err := equal("replicas of "+scaled.String(), replicas, int64(now.Spec.Replicas)); err != nil {
			return err
		}
	}
	return nil
}
