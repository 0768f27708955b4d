package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

const lease = "election"

// term is how long a lease lasts: long enough that a busy machine does not take the lead from a leader.
const term = 6 * time.Second

// candidate competes for the lease until ctx ends. It closes done when it has ended.
func candidate(ctx context.Context, client kubernetes.Interface, namespace, name string, release bool, said happenings) (done <-chan struct{}, err error) {
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: name,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: lease},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: name},
		},
		// Leases have whole seconds; fractions are dropped.
		LeaseDuration:   term,
		RenewDeadline:   term - time.Second,
		RetryPeriod:     100 * time.Millisecond,
		ReleaseOnCancel: release,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { said.say("%s leads", name) },
			OnStoppedLeading: func() { said.say("%s stopped", name) },
		},
	})
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		elector.Run(ctx)
	}()
	return ended, nil
}

// leaderElection runs two candidates: the leader releases the lease, and the other takes over.
func leaderElection(ctx context.Context, env env) error {
	client, err := kubernetes.NewForConfig(env.config)
	if err != nil {
		return err
	}
	said := newHappenings()
	first, resign := context.WithCancel(ctx)
	defer resign()
	firstDone, err := candidate(first, client, env.namespace, "first", true, said)
	if err != nil {
		return err
	}
	if err := said.expect(ctx, "first leads"); err != nil {
		return err
	}
	second, stop := context.WithCancel(ctx)
	secondDone, err := candidate(second, client, env.namespace, "second", true, said)
	if err != nil {
		stop()
		return err
	}
	defer func() { stop(); <-secondDone }()

	// The leader renews the lease: its time advances, and the other candidate does not take it.
	before, err := client.CoordinationV1().Leases(env.namespace).Get(ctx, lease, metav1.GetOptions{})
	if err != nil {
		return err
	}
	err = eventually(ctx, func(ctx context.Context) error {
		now, err := client.CoordinationV1().Leases(env.namespace).Get(ctx, lease, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !now.Spec.RenewTime.After(before.Spec.RenewTime.Add(term)) {
			return errors.New("the lease has not been renewed for as long as it lasts")
		}
		return equal("the holder", *now.Spec.HolderIdentity, "first")
	})
	if err != nil {
		return err
	}

	resigned := time.Now()
	resign()
	<-firstDone
	if err := said.expect(ctx, "first stopped", "second leads"); err != nil {
		return err
	}
	if waited := time.Since(resigned); waited >= term {
		return fmt.Errorf("the second waited %s for a lease that was released", waited)
	}
	taken, err := client.CoordinationV1().Leases(env.namespace).Get(ctx, lease, metav1.GetOptions{})
	if err != nil {
		return err
	}
	return errors.Join(
		equal("the holder", *taken.Spec.HolderIdentity, "second"),
		equal("the number of transitions", *taken.Spec.LeaseTransitions, 1))
}

// expiredLease tests a leader that ends without releasing its lease, which then expires.
func expiredLease(ctx context.Context, env env) error {
	client, err := kubernetes.NewForConfig(env.config)
	if err != nil {
		return err
	}
	said := newHappenings()
	first, die := context.WithCancel(ctx)
	defer die()
	firstDone, err := candidate(first, client, env.namespace, "first", false, said)
	if err != nil {
		return err
	}
	if err := said.expect(ctx, "first leads"); err != nil {
		return err
	}
	die()
	<-firstDone
	died := time.Now()
	if err := said.expect(ctx, "first stopped"); err != nil {
		return err
	}
	second, stop := context.WithCancel(ctx)
	secondDone, err := candidate(second, client, env.namespace, "second", true, said)
	if err != nil {
		stop()
		return err
	}
	defer func() { stop(); <-secondDone }()
	if err := said.expect(ctx, "second leads"); err != nil {
		return err
	}
	if waited := time.Since(died); waited < time.Second {
		return fmt.Errorf("the second took over after %s a lease of 2 s", waited)
	}
	return nil
}

// compete is a candidate for the Lease of the operator in this repository, with the operator's times, until SIGTERM. It logs
// when it begins and ends to lead, in the operator's words.
func compete(ctx context.Context, env env) error {
	client, err := kubernetes.NewForConfig(env.config)
	if err != nil {
		return err
	}
	var mutex sync.Mutex
	leads := false
	report := func(message string) {
		line := map[string]string{"timestamp": time.Now().UTC().Format(time.RFC3339Nano), "message": message}
		_ = json.NewEncoder(os.Stdout).Encode(line)
	}
	lead := func(now bool, message string) {
		mutex.Lock()
		defer mutex.Unlock()
		if now != leads {
			leads = now
			report(message)
		}
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: "go",
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: env.namespace, Name: "blog-operator"},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: "go"},
		},
		LeaseDuration: 15 * time.Second,
		RenewDeadline: 10 * time.Second,
		// It looks for the end of a lease this often, plus up to 120 %.
		RetryPeriod:     200 * time.Millisecond,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { lead(true, "leads") },
			OnStoppedLeading: func() { lead(false, "does not lead any more") },
			OnNewLeader: func(identity string) {
				if identity != "go" {
					report("stands by")
				}
			},
		},
	})
	if err != nil {
		return err
	}
	signalled, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	elected, release := context.WithCancel(context.Background())
	go func() {
		<-signalled.Done()
		// What needs the lead has to end before.
		lead(false, "releases the lead")
		release()
	}()
	elector.Run(elected)
	return nil
}
