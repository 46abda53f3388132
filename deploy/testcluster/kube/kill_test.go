package kube_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/deploy/testcluster"
	"github.com/pndaproject/deployment-manager/plugins/kube"
)

// TestServerKilled kills the API server while applications are applied, changed and
// destroyed, and starts it again. Nobody is blamed for it, what was in hand is done by
// trying again, nothing is made twice, and a watch that had begun goes on.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	cluster, err := testcluster.Start(t.Context(), testcluster.Options{Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	r := newRig(t, cluster, nil)
	const many = 12
	name := func(i int) dm.ApplicationName { return dm.ApplicationName(fmt.Sprintf("app-%d", i)) }
	first := func(i int) kube.Set {
		of := string(name(i))
		return r.set(name(i), configMap(of+"-a", "1"), service(of+"-b"), job(of+"-c"))
	}
	second := func(i int) kube.Set {
		of := string(name(i))
		return r.set(name(i), configMap(of+"-a", "2"), service(of+"-d"))
	}
	watching, cancel := context.WithCancel(t.Context())
	var watch errgroup.Group
	watch.Go(func() error { return r.kube.Watch(watching, sort, func(dm.ApplicationName) {}) })
	t.Cleanup(func() {
		cancel()
		if err := watch.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})

	uids := map[string]seen{}
	for _, part := range []struct {
		name string
		do   func(ctx context.Context, i int) error
	}{
		{"apply", func(ctx context.Context, i int) error { return r.kube.Apply(ctx, first(i)) }},
		{"change", func(ctx context.Context, i int) error { return r.kube.Apply(ctx, second(i)) }},
		{"destroy", func(ctx context.Context, i int) error { return r.kube.Destroy(ctx, name(i), sort) }},
	} {
		r.interrupted(part.name, many, part.do)
		for i := range many {
			of := string(name(i))
			switch part.name {
			case "apply":
				uids[of] = r.want(name(i), "configmaps/"+of+"-a", "services/"+of+"-b", "jobs/"+of+"-c")["configmaps/"+of+"-a"]
			case "change":
				eventually(t, "what is not wanted is gone", func() error {
					if found := r.standing(name(i)); len(found) != 3 {
						return fmt.Errorf("there are %v", found)
					}
					return nil
				})
				if now := r.want(name(i), "configmaps/"+of+"-a", "services/"+of+"-d")["configmaps/"+of+"-a"]; now.uid != uids[of].uid {
					t.Errorf("%s: what stays was made again", of)
				}
			default:
				r.want(name(i))
			}
		}
		eventually(t, "the watch knows of it", func() error {
			for i := range many {
				state, err := r.kube.Live(name(i), sort, r.team())
				if err != nil {
					return err
				}
				if state.Present != (part.name != "destroy") {
					return fmt.Errorf("the root of %s is there: %v", name(i), state.Present)
				}
				if drift := state.Drift("one"); len(drift) > 0 {
					return fmt.Errorf("%s: %v", name(i), drift)
				}
			}
			return nil
		})
	}
}

// interrupted does something for many applications, two at a time and each until it
// succeeds, and kills the API server when a third of it is done.
func (r *rig) interrupted(what string, many int, do func(ctx context.Context, i int) error) {
	r.Helper()
	var done, failed atomic.Int32
	away, down := make(chan struct{}), make(chan struct{})
	third, killed := sync.OnceFunc(func() { close(away) }), sync.OnceFunc(func() { close(down) })
	var all errgroup.Group
	all.SetLimit(3)
	all.Go(func() error {
		defer killed()
		<-away
		restart, err := r.cluster.Kill("kube-apiserver")
		if err != nil {
			return err
		}
		killed()
		_, err = r.kube.Check(r.Context(), r.set("while-away", configMap("x", "1")))
		r.fails(err, dm.Unavailable, "can't be reached")
		return restart(r.Context())
	})
	for i := range many {
		all.Go(func() error {
			if int(done.Load()) >= many/3 {
				third()
				<-down // else they might all be done before it is
			}
			defer done.Add(1)
			ctx, cancel := context.WithTimeout(r.Context(), 2*time.Minute)
			defer cancel()
			return testcluster.Eventually(ctx, func() error {
				err := do(ctx, i)
				if err != nil {
					failed.Add(1)
					if dm.KindOf(err) != dm.Unavailable {
						r.Errorf("%s: it says %v", what, err)
					}
				}
				return err
			})
		})
	}
	r.must(all.Wait())
	r.Logf("%s: %d tries failed", what, failed.Load())
	if failed.Load() == 0 {
		r.Errorf("%s: nothing failed while the API server was away", what)
	}
}
