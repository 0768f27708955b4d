// Programs of other people meet an API server: client-go and controller-runtime as their users write them. Each scenario
// is a test of e2e/tests/suite/clients.rs, which gives it a namespace of its own and the type Widget:
//
//	go run . KUBECONFIG NAMESPACE SCENARIO
//
// The exit code is 0 when all held, 1 when something did not, 2 for wrong usage.
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

// How long a scenario may take.
const limit = 50 * time.Second

// What a scenario is given.
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
