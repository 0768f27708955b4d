package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"
	"k8s.io/client-go/util/retry"
)

// protobufClient returns typed clients as controllers configure them: request bodies in protobuf, responses in any format
// that the server supports.
func protobufClient(env env) (*kubernetes.Clientset, error) {
	config := rest.CopyConfig(env.config)
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	config.QPS, config.Burst = -1, 0
	return kubernetes.NewForConfig(config)
}

// typed is the part of a kind's typed client that life uses.
type typed[T any] interface {
	Create(context.Context, *T, metav1.CreateOptions) (*T, error)
	Update(context.Context, *T, metav1.UpdateOptions) (*T, error)
	Get(context.Context, string, metav1.GetOptions) (*T, error)
	Delete(context.Context, string, metav1.DeleteOptions) error
}

type object[T any] interface {
	*T
	metav1.Object
}

// life creates, updates, reads and deletes an object. The function change prepares the update.
func life[T any, P object[T]](ctx context.Context, client typed[T], begin P, change func(P), check func(P) error) error {
	what := fmt.Sprintf("%T", *begin)
	name := begin.GetName()
	created, err := client.Create(ctx, begin, metav1.CreateOptions{FieldManager: "typed"})
	if err != nil {
		return fmt.Errorf("create %s: %w", what, err)
	}
	made := P(created).GetCreationTimestamp()
	if P(created).GetUID() == "" || P(created).GetResourceVersion() == "" || made.IsZero() {
		return fmt.Errorf("%s has no metadata of the server: %+v", what, created)
	}
	_, err = client.Create(ctx, begin, metav1.CreateOptions{})
	if err := refused("a second "+what, err, apierrors.IsAlreadyExists); err != nil {
		return err
	}
	change(created)
	updated, err := client.Update(ctx, created, metav1.UpdateOptions{FieldManager: "typed"})
	if err != nil {
		return fmt.Errorf("update %s: %w", what, err)
	}
	if P(updated).GetResourceVersion() == P(created).GetResourceVersion() {
		return fmt.Errorf("%s kept its resourceVersion over a change", what)
	}
	stale := *created
	P(&stale).SetLabels(map[string]string{"stale": "yes"})
	_, err = client.Update(ctx, &stale, metav1.UpdateOptions{})
	if err := refused("an update of an old "+what, err, apierrors.IsConflict); err != nil {
		return err
	}
	got, err := client.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get %s: %w", what, err)
	}
	if err := check(got); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if managers := P(got).GetManagedFields(); len(managers) != 1 || managers[0].Manager != "typed" {
		return fmt.Errorf("%s is managed by %+v", what, managers)
	}
	now := int64(0)
	options := metav1.DeleteOptions{
		GracePeriodSeconds: &now,
		Preconditions:      metav1.NewUIDPreconditions(string(P(got).GetUID())),
	}
	if err := client.Delete(ctx, name, options); err != nil {
		return fmt.Errorf("delete %s: %w", what, err)
	}
	return nil
}

var (
	labelled = map[string]string{"app": "x"}
	selector = &metav1.LabelSelector{MatchLabels: labelled}
	template = corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labelled},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
)

// workloads tests the lifecycle of built-in kinds, except those that the controllers of the tests' cluster write.
func workloads(ctx context.Context, env env) error {
	client, err := protobufClient(env)
	if err != nil {
		return err
	}
	namespace := env.namespace
	meta := metav1.ObjectMeta{Name: "one", Labels: labelled}
	three := int32(3)
	job := batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: *template.DeepCopy()}}
	job.Spec.Template.Labels = nil
	job.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	percent := intstr.FromString("50%")
	path, prefix := "/", networkingv1.PathTypePrefix
	backend := networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
		Name: "s", Port: networkingv1.ServiceBackendPort{Number: 80},
	}}

	return errors.Join(
		life(ctx, client.CoreV1().ConfigMaps(namespace),
			&corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"a": "b"}, BinaryData: map[string][]byte{"c": {0, 255}}},
			func(o *corev1.ConfigMap) { o.Data["a"] = "c" },
			func(o *corev1.ConfigMap) error {
				return equal("data", fmt.Sprint(o.Data, o.BinaryData), "map[a:c] map[c:[0 255]]")
			}),
		life(ctx, client.CoreV1().Secrets(namespace),
			&corev1.Secret{ObjectMeta: meta, StringData: map[string]string{"a": "b"}},
			func(o *corev1.Secret) { o.Data["c"] = []byte("d") },
			func(o *corev1.Secret) error {
				return equal("data", fmt.Sprintf("%s %s %d %s", o.Data["a"], o.Data["c"], len(o.StringData), o.Type), "b d 0 Opaque")
			}),
		life(ctx, client.CoreV1().Services(namespace),
			&corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Selector: labelled, Ports: []corev1.ServicePort{{Port: 80}}}},
			func(o *corev1.Service) { o.Spec.Ports[0].TargetPort = intstr.FromString("web") },
			func(o *corev1.Service) error {
				if o.Spec.ClusterIP == "" || o.Spec.ClusterIP == "None" || len(o.Spec.ClusterIPs) != 1 {
					return fmt.Errorf("no address: %+v", o.Spec)
				}
				port := o.Spec.Ports[0]
				return equal("the port", fmt.Sprint(port.TargetPort.String(), port.Protocol, o.Spec.Type), "webTCPClusterIP")
			}),
		life(ctx, client.CoreV1().ServiceAccounts(namespace),
			&corev1.ServiceAccount{ObjectMeta: meta},
			func(o *corev1.ServiceAccount) { o.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "s"}} },
			func(o *corev1.ServiceAccount) error { return equal("secrets", len(o.ImagePullSecrets), 1) }),
		life(ctx, client.CoreV1().Pods(namespace),
			&corev1.Pod{ObjectMeta: meta, Spec: template.Spec},
			func(o *corev1.Pod) { o.Spec.Containers[0].Image = "other" },
			func(o *corev1.Pod) error {
				got := fmt.Sprint(o.Status.Phase, o.Status.QOSClass, o.Spec.RestartPolicy, o.Spec.Containers[0].Image)
				return equal("the pod", got, "PendingBestEffortAlwaysother")
			}),
		life(ctx, client.CoreV1().PersistentVolumeClaims(namespace),
			&corev1.PersistentVolumeClaim{ObjectMeta: meta, Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{
					corev1.ResourceStorage: resource.MustParse("1024Mi"),
				}},
			}},
			func(o *corev1.PersistentVolumeClaim) { o.Labels = nil },
			func(o *corev1.PersistentVolumeClaim) error {
				quantity := o.Spec.Resources.Requests[corev1.ResourceStorage]
				return equal("the storage", quantity.String(), "1Gi")
			}),
		life(ctx, client.AppsV1().Deployments(namespace),
			&appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template}},
			func(o *appsv1.Deployment) { o.Spec.Replicas = &three },
			func(o *appsv1.Deployment) error {
				got := fmt.Sprintln(o.Generation, *o.Spec.Replicas, o.Spec.Strategy.Type, o.Spec.Strategy.RollingUpdate.MaxSurge)
				return equal("the deployment", got, "2 3 RollingUpdate 25%\n")
			}),
		life(ctx, client.AppsV1().StatefulSets(namespace),
			&appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: template, ServiceName: "s"}},
			func(o *appsv1.StatefulSet) { o.Spec.Replicas = &three },
			func(o *appsv1.StatefulSet) error { return equal("replicas", *o.Spec.Replicas, 3) }),
		life(ctx, client.AppsV1().DaemonSets(namespace),
			&appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}},
			func(o *appsv1.DaemonSet) { o.Spec.MinReadySeconds = 3 },
			func(o *appsv1.DaemonSet) error { return equal("the generation", o.Generation, 2) }),
		life(ctx, client.BatchV1().Jobs(namespace),
			&batchv1.Job{ObjectMeta: meta, Spec: job.Spec},
			func(o *batchv1.Job) { o.Spec.Parallelism = &three },
			func(o *batchv1.Job) error { return equal("the parallelism", *o.Spec.Parallelism, 3) }),
		life(ctx, client.BatchV1().CronJobs(namespace),
			&batchv1.CronJob{ObjectMeta: meta, Spec: batchv1.CronJobSpec{Schedule: "* * * * *", JobTemplate: job}},
			func(o *batchv1.CronJob) { o.Spec.Schedule = "@daily" },
			func(o *batchv1.CronJob) error {
				return equal("the cron job", fmt.Sprint(o.Spec.Schedule, o.Spec.ConcurrencyPolicy, *o.Spec.Suspend), "@dailyAllowfalse")
			}),
		life(ctx, client.PolicyV1().PodDisruptionBudgets(namespace),
			&policyv1.PodDisruptionBudget{ObjectMeta: meta, Spec: policyv1.PodDisruptionBudgetSpec{Selector: selector, MinAvailable: &percent}},
			func(o *policyv1.PodDisruptionBudget) { o.Spec.MinAvailable = &intstr.IntOrString{IntVal: 1} },
			func(o *policyv1.PodDisruptionBudget) error {
				return equal("the least", o.Spec.MinAvailable.String(), "1")
			}),
		life(ctx, client.AutoscalingV2().HorizontalPodAutoscalers(namespace),
			&autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: meta, Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
				ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{Kind: "Deployment", Name: "d", APIVersion: "apps/v1"},
				MaxReplicas:    5,
			}},
			func(o *autoscalingv2.HorizontalPodAutoscaler) { o.Spec.MinReplicas = &three },
			func(o *autoscalingv2.HorizontalPodAutoscaler) error {
				return equal("the least", *o.Spec.MinReplicas, 3)
			}),
		life(ctx, client.NetworkingV1().Ingresses(namespace),
			&networkingv1.Ingress{ObjectMeta: meta, Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{
				Host: "example.com",
				IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
					Paths: []networkingv1.HTTPIngressPath{{Path: path, PathType: &prefix, Backend: backend}},
				}},
			}}}},
			func(o *networkingv1.Ingress) { o.Spec.DefaultBackend = &backend },
			func(o *networkingv1.Ingress) error { return equal("the host", o.Spec.Rules[0].Host, "example.com") }),
		life(ctx, client.NetworkingV1().NetworkPolicies(namespace),
			&networkingv1.NetworkPolicy{ObjectMeta: meta, Spec: networkingv1.NetworkPolicySpec{PodSelector: *selector}},
			func(o *networkingv1.NetworkPolicy) {
				o.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{}}
				o.Spec.PolicyTypes = append(o.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
			},
			func(o *networkingv1.NetworkPolicy) error {
				return equal("types", fmt.Sprint(o.Spec.PolicyTypes), "[Ingress Egress]")
			}),
		life(ctx, client.RbacV1().Roles(namespace),
			&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}}}},
			func(o *rbacv1.Role) { o.Rules[0].Verbs = []string{"*"} },
			func(o *rbacv1.Role) error { return equal("verbs", o.Rules[0].Verbs, []string{"*"}) }),
		life(ctx, client.RbacV1().RoleBindings(namespace),
			&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "r"}},
			func(o *rbacv1.RoleBinding) { o.Subjects = []rbacv1.Subject{{Kind: "User", Name: "ann"}} },
			func(o *rbacv1.RoleBinding) error {
				return equal("the subject's group", o.Subjects[0].APIGroup, rbacv1.GroupName)
			}),
	)
}

// writes tests the other writes of typed clients: generated names, dry runs, the three patches, status, collections.
func writes(ctx context.Context, env env) error {
	client, err := protobufClient(env)
	if err != nil {
		return err
	}
	deployments := client.AppsV1().Deployments(env.namespace)
	begin := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "d-", Labels: labelled},
		Spec:       appsv1.DeploymentSpec{Selector: selector, Template: template},
	}
	dry, err := deployments.Create(ctx, begin, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return err
	}
	_, err = deployments.Get(ctx, dry.Name, metav1.GetOptions{})
	if err := refused("a get after a dry run", err, apierrors.IsNotFound); err != nil {
		return err
	}
	created, err := deployments.Create(ctx, begin, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	name := created.Name

	return steps(ctx,
		step{"strategic merge patch", func(ctx context.Context) error {
			patch := []byte(`{"spec":{"template":{"spec":{"containers":[{"name":"d","image":"j"}]}}}}`)
			patched, err := deployments.Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			if err != nil {
				return err
			}
			return equal("the number of containers", len(patched.Spec.Template.Spec.Containers), 2)
		}},
		step{"merge patch", func(ctx context.Context) error {
			patched, err := deployments.Patch(ctx, name, types.MergePatchType, []byte(`{"spec":{"replicas":2}}`), metav1.PatchOptions{})
			if err != nil {
				return err
			}
			return equal("replicas", *patched.Spec.Replicas, 2)
		}},
		step{"JSON patch whose test fails", func(ctx context.Context) error {
			patch := []byte(`[{"op":"test","path":"/spec/replicas","value":7}]`)
			_, err := deployments.Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{})
			return refused("the patch", err, apierrors.IsInvalid)
		}},
		step{"status", func(ctx context.Context) error {
			now, err := deployments.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			replicas := int32(9)
			now.Spec.Replicas = &replicas
			now.Status.ObservedGeneration = now.Generation
			now.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue}}
			after, err := deployments.UpdateStatus(ctx, now, metav1.UpdateOptions{})
			if err != nil {
				return err
			}
			return errors.Join(
				equal("replicas", *after.Spec.Replicas, 2),
				equal("the generation", after.Generation, now.Generation),
				equal("conditions", len(after.Status.Conditions), 1))
		}},
		step{"an invalid object", func(ctx context.Context) error {
			bad := created.DeepCopy()
			bad.ObjectMeta = metav1.ObjectMeta{Name: "bad"}
			bad.Spec.Template.Labels = map[string]string{"app": "y"}
			_, err := deployments.Create(ctx, bad, metav1.CreateOptions{})
			if err := refused("the create", err, apierrors.IsInvalid); err != nil {
				return err
			}
			causes := err.(apierrors.APIStatus).Status().Details.Causes
			return equal("the field", causes[0].Field, "spec.template.metadata.labels")
		}},
		step{"an empty list", func(ctx context.Context) error {
			list, err := deployments.List(ctx, metav1.ListOptions{LabelSelector: "app notin (x)", FieldSelector: "metadata.name!=" + name})
			if err != nil {
				return err
			}
			return equal("items", len(list.Items), 0)
		}},
		step{"deletecollection", func(ctx context.Context) error {
			if err := deployments.DeleteCollection(ctx, *metav1.NewDeleteOptions(0), metav1.ListOptions{LabelSelector: "app=x"}); err != nil {
				return err
			}
			return eventually(ctx, func(ctx context.Context) error {
				list, err := deployments.List(ctx, metav1.ListOptions{})
				if err != nil {
					return err
				}
				return equal("deployments", len(list.Items), 0)
			})
		}},
	)
}

// conflicts runs several writers of one object that retry after a conflict: none of their changes is lost.
func conflicts(ctx context.Context, env env) error {
	client, err := protobufClient(env)
	if err != nil {
		return err
	}
	const writers, rounds = 5, 5
	maps := client.CoreV1().ConfigMaps(env.namespace)
	counter := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "counter"}, Data: map[string]string{}}
	if _, err := maps.Create(ctx, counter, metav1.CreateOptions{}); err != nil {
		return err
	}
	patient := retry.DefaultRetry
	patient.Steps = 100
	var group sync.WaitGroup
	outcomes := make(chan error, writers*rounds)
	for writer := range writers {
		group.Go(func() {
			for round := range rounds {
				outcomes <- retry.RetryOnConflict(patient, func() error {
					now, err := maps.Get(ctx, "counter", metav1.GetOptions{})
					if err != nil {
						return err
					}
					if now.Data == nil {
						now.Data = map[string]string{}
					}
					now.Data[fmt.Sprintf("%d.%d", writer, round)] = "done"
					_, err = maps.Update(ctx, now, metav1.UpdateOptions{})
					return err
				})
			}
		})
	}
	group.Wait()
	close(outcomes)
	for err := range outcomes {
		if err != nil {
			return err
		}
	}
	now, err := maps.Get(ctx, "counter", metav1.GetOptions{})
	if err != nil {
		return err
	}
	return equal("the number of changes", len(now.Data), writers*rounds)
}

// pages tests paginated lists.
func pages(ctx context.Context, env env) error {
	client, err := protobufClient(env)
	if err != nil {
		return err
	}
	const objects = 25
	maps := client.CoreV1().ConfigMaps(env.namespace)
	for i := range objects {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("page-%02d", i), Labels: labelled}}
		if _, err := maps.Create(ctx, object, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	asked := 0
	pager := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		asked++
		return maps.List(ctx, options)
	})
	pager.PageSize = 10
	var names []string
	err = pager.EachListItem(ctx, metav1.ListOptions{LabelSelector: "app=x"}, func(object runtime.Object) error {
		names = append(names, object.(*corev1.ConfigMap).Name)
		return nil
	})
	if err != nil {
		return err
	}
	for i, name := range names {
		if err := equal("a name", name, fmt.Sprintf("page-%02d", i)); err != nil {
			return err
		}
	}
	if err := errors.Join(equal("the number of objects", len(names), objects), equal("the number of pages", asked, 3)); err != nil {
		return err
	}
	first, err := maps.List(ctx, metav1.ListOptions{Limit: 10, LabelSelector: "app"})
	if err != nil {
		return err
	}
	// With a selector the server does not count what remains.
	if first.Continue == "" || first.RemainingItemCount != nil {
		return fmt.Errorf("a first page has %+v", first.ListMeta)
	}
	return nil
}

// subresources tests subresources and reviews.
func subresources(ctx context.Context, env env) error {
	client, err := protobufClient(env)
	if err != nil {
		return err
	}
	pods := client.CoreV1().Pods(env.namespace)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "one", Labels: labelled}, Spec: *template.Spec.DeepCopy()}

	return steps(ctx,
		step{"token", func(ctx context.Context) error {
			accounts := client.CoreV1().ServiceAccounts(env.namespace)
			if _, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{}); err != nil {
				return err
			}
			seconds := int64(600)
			request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
			granted, err := accounts.CreateToken(ctx, "robot", request, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			config := rest.AnonymousClientConfig(env.config)
			config.BearerToken = granted.Status.Token
			robot, err := kubernetes.NewForConfig(config)
			if err != nil {
				return err
			}
			self, err := robot.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			_, err = robot.CoreV1().Pods(env.namespace).List(ctx, metav1.ListOptions{})
			return errors.Join(
				equal("the user", self.Status.UserInfo.Username, "system:serviceaccount:"+env.namespace+":robot"),
				refused("a list without rights", err, apierrors.IsForbidden))
		}},
		step{"rights", func(ctx context.Context) error {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User:               "system:serviceaccount:" + env.namespace + ":robot",
				ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "list", Resource: "pods", Namespace: env.namespace},
			}}
			before, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			if err := equal("allowed before", before.Status.Allowed, false); err != nil {
				return err
			}
			role := &rbacv1.Role{
				ObjectMeta: metav1.ObjectMeta{Name: "robot"},
				Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}},
			}
			if _, err := client.RbacV1().Roles(env.namespace).Create(ctx, role, metav1.CreateOptions{}); err != nil {
				return err
			}
			binding := &rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: "robot"},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "robot"},
				Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "robot", Namespace: env.namespace}},
			}
			if _, err := client.RbacV1().RoleBindings(env.namespace).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
				return err
			}
			// The real server's authorizer has a cache.
			return eventually(ctx, func(ctx context.Context) error {
				after, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
				if err != nil {
					return err
				}
				return equal("allowed after", after.Status.Allowed, true)
			})
		}},
		step{"pods", func(ctx context.Context) error {
			if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
				return err
			}
			target := corev1.ObjectReference{Kind: "Node", Name: "node-1"}
			if err := pods.Bind(ctx, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "one"}, Target: target}, metav1.CreateOptions{}); err != nil {
				return err
			}
			now, err := pods.Get(ctx, "one", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if err := equal("the node", now.Spec.NodeName, "node-1"); err != nil {
				return err
			}
			now.Status.Phase = corev1.PodRunning
			now.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
			if now, err = pods.UpdateStatus(ctx, now, metav1.UpdateOptions{}); err != nil {
				return err
			}
			now.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
				EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "busybox"},
			}}
			debugged, err := pods.UpdateEphemeralContainers(ctx, "one", now, metav1.UpdateOptions{})
			if err != nil {
				return err
			}
			return equal("ephemeral containers", len(debugged.Spec.EphemeralContainers), 1)
		}},
		step{"eviction", func(ctx context.Context) error {
			eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "one"}, DeleteOptions: metav1.NewDeleteOptions(0)}
			if err := pods.EvictV1(ctx, eviction); err != nil {
				return err
			}
			_, err := pods.Get(ctx, "one", metav1.GetOptions{})
			return refused("a get of the evicted pod", err, apierrors.IsNotFound)
		}},
	)
}

// namespaceEnd tests that a namespace is deleted with its objects, and waits for a finalizer.
func namespaceEnd(ctx context.Context, env env) error {
	client, err := protobufClient(env)
	if err != nil {
		return err
	}
	spaces := client.CoreV1().Namespaces()
	name := env.namespace + "-end"
	if _, err := spaces.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	maps := client.CoreV1().ConfigMaps(name)
	held := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.com/hold"}}}
	if _, err := maps.Create(ctx, held, metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := spaces.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	err = eventually(ctx, func(ctx context.Context) error {
		held, err := maps.Get(ctx, "held", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if held.DeletionTimestamp == nil {
			return errors.New("it is not being deleted")
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "late"}}, metav1.CreateOptions{})
	if err := refused("a create in a terminating namespace", err, apierrors.IsForbidden); err != nil {
		return err
	}
	if err := equal("the cause", apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause), true); err != nil {
		return err
	}
	if _, err := maps.Patch(ctx, "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		return err
	}
	return eventually(ctx, func(ctx context.Context) error {
		_, err := spaces.Get(ctx, name, metav1.GetOptions{})
		return refused("a get", err, apierrors.IsNotFound)
	})
}
