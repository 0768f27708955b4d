// Runs a controller of controller-runtime for `cargo xtask bench controller`; see src/controller/client.rs, which does the same
// with the libraries in Rust.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"peers/internal/blog"
	"peers/internal/usage"
)

type options struct {
	kubeconfig, namespace     string
	objects, concurrency      int
	work                      time.Duration
	requeue, cacheOnly, lease bool
}

// started is the line when each object has been reconciled once.
type started struct {
	usage.Sample
	FirstRunAt int64 `json:"first_run_at"`
}

// finished is the line at the end.
type finished struct {
	CPUSeconds float64    `json:"cpu_seconds"`
	Runs       [][3]int64 `json:"runs"`
}

func main() {
	var o options
	// controller-runtime has a flag in the set of the program.
	flags := flag.NewFlagSet("controller", flag.ExitOnError)
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "path of the kubeconfig")
	flags.StringVar(&o.namespace, "namespace", "", "namespace to watch")
	flags.IntVar(&o.objects, "objects", 0, "number of different objects whose runs complete the start")
	flags.IntVar(&o.concurrency, "concurrency", 4, "number of runs at a time")
	work := flags.Int("work", 0, "how long each run sleeps, in milliseconds")
	flags.BoolVar(&o.requeue, "requeue", false, "each run asks for another one in an hour")
	flags.BoolVar(&o.cacheOnly, "cache-only", false, "only fill the cache")
	flags.BoolVar(&o.lease, "lease", false, "take part in leader election")
	// It exits on an error.
	_ = flags.Parse(os.Args[1:])
	o.work = time.Duration(*work) * time.Millisecond
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	ctrl.SetLogger(logr.Discard())
	start, err := usage.Now()
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return err
	}
	config.DisableCompression = true
	config.QPS = -1
	scheme := apiruntime.NewScheme()
	blog.AddToScheme(scheme)
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         cache.Options{DefaultNamespaces: map[string]cache.Config{o.namespace: {}}},
		Metrics:                       server.Options{BindAddress: "0"},
		LeaderElection:                o.lease,
		LeaderElectionID:              "bench-controller-runtime",
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return err
	}
	ctx := ctrl.SetupSignalHandler()
	// Starts the informer with the manager, before the lease is held.
	if _, err := manager.GetCache().GetInformer(ctx, &blog.Blog{}, cache.BlockUntilSynced(false)); err != nil {
		return err
	}
	r := &reconciler{
		options: o,
		client:  manager.GetClient(),
		runs:    make([][3]int64, 0, o.objects),
		ran:     make([]bool, o.objects),
		missing: o.objects,
		allRan:  make(chan struct{}),
	}
	if !o.cacheOnly {
		err = ctrl.NewControllerManagedBy(manager).
			For(&blog.Blog{}).
			WithOptions(controller.Options{MaxConcurrentReconciles: o.concurrency}).
			Complete(r)
		if err != nil {
			return err
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(ctx) }()
	if o.cacheOnly || o.lease {
		if !manager.GetCache().WaitForCacheSync(ctx) {
			return <-ended
		}
	}
	if o.cacheOnly {
		return r.printCache(ctx, start)
	}
	if o.lease {
		fmt.Println(`"warm"`)
	}

	select {
	case <-r.allRan:
	case err := <-ended:
		return err
	}
	sample, err := start.Synced()
	if err != nil {
		return err
	}
	sample.Objects = o.objects
	r.mutex.Lock()
	first := r.runs[0][2]
	r.mutex.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(started{sample, first}); err != nil {
		return err
	}

	cpu, err := usage.CPUSeconds()
	if err != nil {
		return err
	}
	closed := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(closed)
	}()
	select {
	case <-closed:
	case err := <-ended:
		return err
	}
	for before := -1; before != r.count(); {
		before = r.count()
		time.Sleep(time.Second)
	}
	end, err := usage.CPUSeconds()
	if err != nil {
		return err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return json.NewEncoder(os.Stdout).Encode(finished{end - cpu, r.runs})
}

type reconciler struct {
	options
	client client.Client

	mutex sync.Mutex
	// The object's number, the number of the last write that the run saw, and when it began.
	runs [][3]int64
	// Which of the objects have run, and the number of those that have not.
	ran     []bool
	missing int
	allRan  chan struct{}
}

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var object blog.Blog
	if err := r.client.Get(ctx, request.NamespacedName, &object); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	number, sequence := numbers(object.Spec.URL)
	r.add(number, sequence)
	if r.work > 0 {
		time.Sleep(r.work)
	}
	if r.requeue {
		return ctrl.Result{RequeueAfter: time.Hour}, nil
	}
	return ctrl.Result{}, nil
}

func (r *reconciler) add(number, sequence int64) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.runs = append(r.runs, [3]int64{number, sequence, time.Now().UnixNano()})
	if number < int64(len(r.ran)) && !r.ran[number] {
		r.ran[number] = true
		r.missing--
		if r.missing == 0 {
			close(r.allRan)
		}
	}
}

func (r *reconciler) count() int {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return len(r.runs)
}

// numbers reads the object's number and that of the last write from an address like `https://000042.example.com/7`.
func numbers(url string) (number, sequence int64) {
	host, path, _ := strings.Cut(strings.TrimPrefix(url, "https://"), ".example.com")
	number, _ = strconv.ParseInt(host, 10, 64)
	sequence, _ = strconv.ParseInt(strings.TrimPrefix(path, "/"), 10, 64)
	return number, sequence
}

func (r *reconciler) printCache(ctx context.Context, start usage.Start) error {
	sample, err := start.Synced()
	if err != nil {
		return err
	}
	var list blog.BlogList
	if err := r.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	sample.Objects = len(list.Items)
	return json.NewEncoder(os.Stdout).Encode(started{Sample: sample})
}
