// Third-party clients against an API server: client-go and controller-runtime, used as their users use them. Each scenario
// is a test in e2e/tests/suite/clients.rs, which provides a new namespace and the type Widget; "compete" is the other
// candidate in leaders.rs:
//
//	go run . KUBECONFIG NAMESPACE SCENARIO
//
// The exit code is 0 if the scenario succeeded, 1 if it failed, and 2 for wrong usage.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// limit is how long a scenario may take.
const limit = 120 * time.Second

// env is the environment of a scenario.
type env struct {
	config    *rest.Config
	namespace string
}

var scenarios = map[string]func(context.Context, env) error{
	"typed-informer":     typedInformer,
	"dynamic-informer":   dynamicInformer,
	"metadata-informer":  metadataInformer,
	"retry-watcher":      retryWatcher,
	"leader-election":    leaderElection,
	"expired-lease":      expiredLease,
	"compete":            compete,
	"workloads":          workloads,
	"writes":             writes,
	"conflicts":          conflicts,
	"pager":              pages,
	"apply":              apply,
	"discovery":          discover,
	"new-type":           newType,
	"scale":              scaleClient,
	"events":             recordedEvents,
	"subresources":       subresources,
	"namespace-end":      namespaceEnd,
	"controller":         controllerLoop,
	"controller-leaders": controllerLeaders,
	"controller-client":  controllerClient,
}

func main() {
	if len(os.Args) != 4 || scenarios[os.Args[3]] == nil {
		names := slices.Sorted(maps.Keys(scenarios))
		fmt.Fprintf(os.Stderr, "usage: KUBECONFIG NAMESPACE SCENARIO, which is one of %s\n", strings.Join(names, " "))
		os.Exit(2)
	}
	kubeconfig, namespace, scenario := os.Args[1], os.Args[2], os.Args[3]
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		err = scenarios[scenario](ctx, env{config, namespace})
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", scenario, err)
		os.Exit(1)
	}
}
