// Package blog is the type of the benchmarks' objects.
package blog

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is that of the type.
var GroupVersion = schema.GroupVersion{Group: "web.helloworld", Version: "v1"}

// AddToScheme makes the type known.
func AddToScheme(scheme *apiruntime.Scheme) {
	scheme.AddKnownTypes(GroupVersion, &Blog{}, &BlogList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
}

// Blog is the type as kubebuilder generates it.
type Blog struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              BlogSpec   `json:"spec,omitempty"`
	Status            BlogStatus `json:"status,omitempty"`
}

type BlogSpec struct {
	URL           string `json:"url"`
	CheckInterval string `json:"checkInterval,omitempty"`
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
