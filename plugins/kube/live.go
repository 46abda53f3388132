package kube

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	dm "github.com/pndaproject/deployment-manager"
)

// State is what stands of one component type of one application, as the last watch
// told. It is not to be changed.
type State struct {
	Namespace string
	Present   bool // the root is there
	wanted    []wanted
	objects   map[string]*unstructured.Unstructured // by wanted's key
	pods      []*corev1.Pod
	fresh     bool // it was applied so lately that the watches may lag behind
}

// settleTime is how long a watch may lag behind what was just applied.
const settleTime = 10 * time.Second

// Live tells what stands of a component type of app, from memory. Kind Unavailable
// when that is not known now.
func (c *Cluster) Live(app dm.ApplicationName, t dm.ComponentType, team Team) (*State, error) {
	c.caches.mu.Lock()
	w := c.caches.of[t]
	at, applied := c.caches.applied[rootName(app, t)]
	c.caches.mu.Unlock()
	if w == nil {
		return nil, dm.Errorf(dm.Unavailable, "kube.Live", "the cluster is not watched yet")
	}
	if err := w.known(team.Namespace); err != nil {
		return nil, err
	}
	s := &State{Namespace: team.Namespace, objects: map[string]*unstructured.Unstructured{}, fresh: applied && c.cfg.Clock().Sub(at) < settleTime}
	for _, k := range kinds {
		for _, o := range w.objects(part{k.resource, team.Namespace}, app) {
			if !ours(o, app, t) || madeByOthers(o) {
				continue
			}
			if k.resource == kinds[0].resource && o.GetName() == rootName(app, t) {
				s.Present, s.wanted = o.GetDeletionTimestamp() == nil, told(o)
				continue
			}
			s.objects[wanted{kind: k, Unstructured: o}.key()] = o
		}
	}
	for _, o := range w.objects(part{podKind.resource, team.Namespace}, app) {
		pod := &corev1.Pod{}
		if runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, pod) == nil {
			s.pods = append(s.pods, pod)
		}
	}
	slices.SortFunc(s.pods, func(a, b *corev1.Pod) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return s, nil
}

// noteApplied remembers when a set was applied.
func (c *Cluster) noteApplied(app dm.ApplicationName, t dm.ComponentType) {
	c.caches.mu.Lock()
	defer c.caches.mu.Unlock()
	c.caches.applied[rootName(app, t)] = c.cfg.Clock()
	for name, at := range c.caches.applied { // only the last seconds matter
		if c.cfg.Clock().Sub(at) > settleTime {
			delete(c.caches.applied, name)
		}
	}
}

// Object finds an object that stands.
func (s *State) Object(of schema.GroupVersionKind, name string) (*unstructured.Unstructured, bool) {
	k, err := kindOf(of)
	if err != nil {
		return nil, false
	}
	o, ok := s.objects[k.Group+"/"+k.resource+"/"+name]
	return o, ok
}

// Pods are those of a component, the newest first.
func (s *State) Pods(app dm.ApplicationName, t dm.ComponentType, component dm.ComponentName) []*corev1.Pod {
	id := ComponentID(app, t, component)
	return slices.DeleteFunc(slices.Clone(s.pods), func(p *corev1.Pod) bool { return p.Labels[componentID] != id })
}
