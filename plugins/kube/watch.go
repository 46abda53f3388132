package kube

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	dm "github.com/pndaproject/deployment-manager"
)

// lookAgain is how often it is asked whether a kind is served, and with it whether
// the API server answers at all.
const lookAgain = 30 * time.Second

// podKind is watched beside the kinds that plugins make.
var podKind = kind{schema.GroupVersionKind{Version: "v1", Kind: "Pod"}, "pods", ""}

const byApplication = "application"

// caches hold what is watched, by component type.
type caches struct {
	mu      sync.Mutex
	of      map[dm.ComponentType]*watching
	applied map[string]time.Time // when this server applied a set last, by the name of its root
}

func newCaches() *caches {
	return &caches{of: map[dm.ComponentType]*watching{}, applied: map[string]time.Time{}}
}

// watching is what is known of the objects of one component type.
type watching struct {
	c      *Cluster
	t      dm.ComponentType
	notice func(dm.ApplicationName)

	mu    sync.Mutex
	parts map[part]*followed
}

// part is the objects of one kind in one namespace.
type part struct {
	kind, namespace string
}

// followed is how far one part is known.
type followed struct {
	absent   bool  // the cluster does not serve the kind
	fault    error // why it could not be asked last
	informer cache.SharedIndexInformer
	stop     context.CancelFunc // of the informer
}

// Watch follows what stands of a component type, and its pods, in all teams'
// namespaces until ctx ends. notice is called for an application of which something
// is new or other; it must not block. State answers from what Watch knows.
func (c *Cluster) Watch(ctx context.Context, t dm.ComponentType, notice func(dm.ApplicationName)) error {
	w := &watching{c: c, t: t, notice: notice, parts: map[part]*followed{}}
	var running sync.WaitGroup
	for _, namespace := range c.namespaces() {
		for _, k := range append([]kind{podKind}, kinds...) {
			f := &followed{}
			w.parts[part{k.resource, namespace}] = f
			running.Go(func() { w.follow(ctx, k, namespace, f) })
		}
	}
	c.caches.mu.Lock()
	c.caches.of[t] = w
	c.caches.mu.Unlock()
	running.Wait()
	c.caches.mu.Lock()
	defer c.caches.mu.Unlock()
	if c.caches.of[t] == w {
		delete(c.caches.of, t)
	}
	return nil
}

// follow keeps f for as long as ctx lives: a kind may come with its operator and go
// with it.
func (w *watching) follow(ctx context.Context, k kind, namespace string, f *followed) {
	var running sync.WaitGroup
	defer running.Wait() // its context ends with ctx
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		served, err := w.c.Serves(ctx, k.GroupVersionKind)
		w.mu.Lock()
		f.fault = err
		switch {
		case err != nil:
		case !served:
			if f.informer != nil {
				f.stop()
			}
			f.absent, f.informer = true, nil
		case f.informer == nil:
			informer := w.inform(k, namespace)
			var alive context.Context
			alive, f.stop = context.WithCancel(ctx)
			f.absent, f.informer = false, informer
			running.Go(func() { informer.RunWithContext(alive) })
		}
		w.mu.Unlock()
		pause := tick.C
		if err != nil {
			pause = time.After(time.Second) // an API server that comes back is heard of soon
		}
		select {
		case <-ctx.Done():
			return
		case <-pause:
		}
	}
}

// inform makes the informer of one part; it is not started.
func (w *watching) inform(k kind, namespace string) cache.SharedIndexInformer {
	mine := labels.Set{managedBy: manager, typeLabel: label(string(w.t))}.String()
	indexers := cache.Indexers{byApplication: func(o any) ([]string, error) {
		return []string{o.(*unstructured.Unstructured).GetAnnotations()[applicationNote]}, nil
	}}
	informer := dynamicinformer.NewFilteredDynamicInformer(w.c.objects, k.gvr(), namespace, 0, indexers,
		func(o *metav1.ListOptions) { o.LabelSelector = mine }).Informer()
	tell := func(o any) {
		if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
			o = gone.Obj
		}
		if u, ok := o.(*unstructured.Unstructured); ok {
			w.notice(dm.ApplicationName(u.GetAnnotations()[applicationNote]))
		}
	}
	_ = informer.SetTransform(slim) // fails only on one that runs
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: tell, UpdateFunc: func(_, o any) { tell(o) }, DeleteFunc: tell,
	})
	return informer
}

// packed is the key under which an object is kept as JSON: as maps it takes ten times
// the memory, and of thousands few are looked at.
const packed = "packed"

// slim keeps of an object what it is found by, and the rest as JSON, without what
// nobody reads. Who manages a field is read of objects that were made here, not of
// their pods.
func slim(o any) (any, error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok || u.Object[packed] != nil {
		return o, nil
	}
	if u.GetKind() == podKind.Kind {
		u.SetManagedFields(nil)
		for _, of := range []string{"volumes", "initContainers", "tolerations", "affinity"} {
			unstructured.RemoveNestedField(u.Object, "spec", of)
		}
	}
	text, err := u.MarshalJSON()
	if err != nil {
		return nil, err
	}
	small := &unstructured.Unstructured{Object: map[string]any{packed: string(text)}}
	small.SetAPIVersion(u.GetAPIVersion())
	small.SetKind(u.GetKind())
	small.SetNamespace(u.GetNamespace())
	small.SetName(u.GetName())
	small.SetResourceVersion(u.GetResourceVersion()) // by which informers tell a change
	small.SetAnnotations(map[string]string{applicationNote: u.GetAnnotations()[applicationNote]})
	return small, nil
}

// whole is an object as it was before slim.
func whole(o any) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	text, _ := o.(*unstructured.Unstructured).Object[packed].(string)
	return u, u.UnmarshalJSON([]byte(text))
}

// known tells whether all parts in a namespace have been read.
func (w *watching) known(namespace string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, f := range w.parts {
		switch {
		case p.namespace != namespace || f.absent:
		case f.fault != nil:
			return f.fault
		case f.informer == nil || !f.informer.HasSynced():
			return dm.Errorf(dm.Unavailable, "kube.Live", "the objects in the namespace %s are still being read", namespace)
		}
	}
	return nil
}

// objects are those of an application, of one kind in one namespace.
func (w *watching) objects(p part, app dm.ApplicationName) []*unstructured.Unstructured {
	w.mu.Lock()
	f := w.parts[p]
	w.mu.Unlock()
	if f == nil || f.informer == nil {
		return nil
	}
	found, err := f.informer.GetIndexer().ByIndex(byApplication, string(app))
	if err != nil {
		return nil
	}
	var list []*unstructured.Unstructured
	for _, o := range found {
		if u, err := whole(o); err == nil { // it was written by slim
			list = append(list, u)
		}
	}
	return list
}
