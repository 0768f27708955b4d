package main

import (
	"context"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	appsv1 "k8s.io/client-go/applyconfigurations/apps/v1"
	acorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	ametav1 "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/dynamic"
)

// apply tests server-side apply with client-go's apply configurations: fields that a manager gives up are removed, and
// fields of other managers stay.
func apply(ctx context.Context, env env) error {
	client, err := protobufClient(env)
	if err != nil {
		return err
	}
	deployments := client.AppsV1().Deployments(env.namespace)
	container := func(name, image string) *acorev1.ContainerApplyConfiguration {
		return acorev1.Container().WithName(name).WithImage(image)
	}
	wanted := func(containers ...*acorev1.ContainerApplyConfiguration) *appsv1.DeploymentApplyConfiguration {
		pod := acorev1.PodTemplateSpec().WithLabels(labelled).WithSpec(acorev1.PodSpec().WithContainers(containers...))
		spec := appsv1.DeploymentSpec().WithSelector(ametav1.LabelSelector().WithMatchLabels(labelled)).WithTemplate(pod)
		return appsv1.Deployment("one", env.namespace).WithSpec(spec)
	}
	ann := metav1.ApplyOptions{FieldManager: "ann"}
	bob := metav1.ApplyOptions{FieldManager: "bob"}

	first, err := deployments.Apply(ctx, wanted(container("a", "1"), container("b", "1").WithPorts(acorev1.ContainerPort().WithContainerPort(80))), ann)
	if err != nil {
		return err
	}
	return steps(ctx,
		step{"applying the same again changes nothing", func(ctx context.Context) error {
			again, err := deployments.Apply(ctx, wanted(container("a", "1"), container("b", "1").WithPorts(acorev1.ContainerPort().WithContainerPort(80))), ann)
			if err != nil {
				return err
			}
			return equal("the resourceVersion", again.ResourceVersion, first.ResourceVersion)
		}},
		step{"extract the applied configuration", func(ctx context.Context) error {
			extracted, err := appsv1.ExtractDeployment(first, "ann")
			if err != nil {
				return err
			}
			containers := extracted.Spec.Template.Spec.Containers
			return errors.Join(
				equal("containers", len(containers), 2),
				equal("a field that the server defaulted", containers[0].ImagePullPolicy == nil, true),
				equal("the port", *containers[1].Ports[0].ContainerPort, 80))
		}},
		step{"a conflict", func(ctx context.Context) error {
			_, err := deployments.Apply(ctx, wanted(container("a", "2")), bob)
			if err := refused("an apply of another's field", err, apierrors.IsConflict); err != nil {
				return err
			}
			causes := err.(apierrors.APIStatus).Status().Details.Causes
			return errors.Join(
				equal("causes", len(causes), 1),
				equal("the field", causes[0].Field, `.spec.template.spec.containers[name="a"].image`),
				equal("the type", causes[0].Type, metav1.CauseTypeFieldManagerConflict),
				equal("the words", causes[0].Message, `conflict with "ann"`))
		}},
		step{"by force", func(ctx context.Context) error {
			forced, err := deployments.Apply(ctx, wanted(container("a", "2")), metav1.ApplyOptions{FieldManager: "bob", Force: true})
			if err != nil {
				return err
			}
			return errors.Join(
				equal("the image", forced.Spec.Template.Spec.Containers[0].Image, "2"),
				equal("containers", len(forced.Spec.Template.Spec.Containers), 2))
		}},
		step{"give a container up", func(ctx context.Context) error {
			smaller, err := deployments.Apply(ctx, wanted(), ann)
			if err != nil {
				return err
			}
			containers := smaller.Spec.Template.Spec.Containers
			return errors.Join(equal("containers", len(containers), 1), equal("the one that stays", containers[0].Name, "a"))
		}},
		step{"a status of its own", func(ctx context.Context) error {
			condition := appsv1.DeploymentCondition().WithType("Available").WithStatus(corev1.ConditionTrue)
			status := appsv1.Deployment("one", env.namespace).WithStatus(appsv1.DeploymentStatus().WithConditions(condition))
			applied, err := deployments.ApplyStatus(ctx, status, ann)
			if err != nil {
				return err
			}
			if err := equal("conditions", len(applied.Status.Conditions), 1); err != nil {
				return err
			}
			extracted, err := appsv1.ExtractDeploymentStatus(applied, "ann")
			if err != nil {
				return err
			}
			return equal("extracted conditions", len(extracted.Status.Conditions), 1)
		}},
		step{"managers", func(ctx context.Context) error {
			patch := []byte(`{"metadata":{"annotations":{"note":"n"}}}`)
			patched, err := deployments.Patch(ctx, "one", types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "eve"})
			if err != nil {
				return err
			}
			var managers []string
			for _, entry := range patched.ManagedFields {
				managers = append(managers, entry.Manager+" "+string(entry.Operation)+" "+entry.Subresource)
			}
			slices.Sort(managers)
			return equal("managers", managers, []string{"ann Apply ", "ann Apply status", "bob Apply ", "eve Update "})
		}},
		step{"a custom resource", func(ctx context.Context) error {
			return applyWidget(ctx, env)
		}},
	)
}

func applyWidget(ctx context.Context, env env) error {
	client, err := dynamic.NewForConfig(env.config)
	if err != nil {
		return err
	}
	objects := client.Resource(widgets).Namespace(env.namespace)
	part := func(name string, count int64) map[string]any { return map[string]any{"name": name, "count": count} }
	first := widget("one", map[string]any{"size": "small", "parts": []any{part("a", 1), part("b", 2)}})
	if _, err := objects.Apply(ctx, "one", first, metav1.ApplyOptions{FieldManager: "ann"}); err != nil {
		return err
	}
	added := widget("one", map[string]any{"parts": []any{part("c", 3)}})
	if _, err := objects.Apply(ctx, "one", added, metav1.ApplyOptions{FieldManager: "bob"}); err != nil {
		return err
	}
	second := widget("one", map[string]any{"size": "small", "parts": []any{part("b", 2)}})
	applied, err := objects.Apply(ctx, "one", second, metav1.ApplyOptions{FieldManager: "ann"})
	if err != nil {
		return err
	}
	parts, _, err := unstructured.NestedSlice(applied.Object, "spec", "parts")
	if err != nil {
		return err
	}
	return equal("parts", parts, []any{part("b", 2), part("c", 3)})
}
