package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	dm "github.com/pndaproject/deployment-manager"
)

// checksAtOnce is how many requests one Check keeps going.
const checksAtOnce = 8

// Check asks the API server whether it would take all of s: each object in a strict
// dry run, and a bare pod of each template, because an object is taken whose pods are
// not. Nothing is changed. All findings at once; kind Unavailable when not all could
// be asked.
func (c *Cluster) Check(ctx context.Context, s Set) ([]dm.Finding, error) {
	const op = "kube.Check"
	objects, err := s.build()
	if err != nil {
		return nil, dm.Wrap(op, err)
	}
	j := &judgement{of: s.Type}
	served, err := c.served(ctx, s, objects, j)
	if err != nil {
		return nil, err
	}
	var asked errgroup.Group
	asked.SetLimit(checksAtOnce)
	asked.Go(func() error { return j.take("", "", c.tryRoot(ctx, s, objects)) })
	for _, o := range objects {
		if served[o.kind.GroupVersionKind.String()] {
			asked.Go(func() error { return j.take(o.component, "", c.tryObject(ctx, s, o)) })
		}
	}
	for _, p := range s.Pods {
		asked.Go(func() error { return j.take(p.Component, p.Of+" pod: ", c.tryPod(ctx, s, p)) })
	}
	if err := asked.Wait(); err != nil {
		return nil, err
	}
	return j.sorted(), nil
}

// judgement gathers findings.
type judgement struct {
	of   dm.ComponentType
	mu   sync.Mutex
	list []dm.Finding
}

// take makes findings of a fault of the change, and returns any other error.
func (j *judgement) take(component dm.ComponentName, about string, err error) error {
	switch dm.KindOf(err) {
	case "":
		return nil
	case dm.Invalid, dm.Conflict:
		j.find(component, about+dm.Public(err))
		return nil
	}
	return err
}

func (j *judgement) find(component dm.ComponentName, text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = append(j.list, dm.Finding{Type: j.of, Component: component, Message: text})
}

func (j *judgement) sorted() []dm.Finding {
	slices.SortFunc(j.list, func(a, b dm.Finding) int {
		return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(j.list)
}

// served tells which kinds of the objects the cluster knows; the others are findings.
func (c *Cluster) served(ctx context.Context, s Set, objects []wanted, j *judgement) (map[string]bool, error) {
	known := map[string]bool{}
	for _, o := range objects {
		name := o.kind.GroupVersionKind.String()
		if _, asked := known[name]; !asked {
			if o.kind.from == "" { // Kubernetes itself
				known[name] = true
				continue
			}
			serves, err := c.Serves(ctx, o.kind.GroupVersionKind)
			if err != nil {
				return nil, err
			}
			known[name] = serves
		}
		if !known[name] {
			j.find(o.component, o.kind.missing(s.Team.Namespace))
		}
	}
	return known, nil
}

// tryRoot is the dry run of the root.
func (c *Cluster) tryRoot(ctx context.Context, s Set, objects []wanted) error {
	root, err := rootFor(s, objects)
	if err != nil {
		return err
	}
	return c.tryObject(ctx, s, wanted{"", kinds[0], root})
}

// tryObject is the dry run of one object. It has no owner, since there may be none yet.
func (c *Cluster) tryObject(ctx context.Context, s Set, o wanted) error {
	live, err := c.get(ctx, o.kind, s.Team.Namespace, o.GetName())
	if err != nil {
		return err
	}
	if live != nil && (!ours(live, s.Application, s.Type) || madeByOthers(live)) {
		return foreign(o.kind, live)
	}
	_, err = c.patch(ctx, o.kind, o.DeepCopy(), metav1.DryRunAll)
	return err
}

// tryPod is the dry run of one pod.
func (c *Cluster) tryPod(ctx context.Context, s Set, p Pod) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	pod := &corev1.Pod{Spec: p.Spec}
	pod.Name = Name(s.Application, string(s.Type), string(p.Component), p.Of, "try")
	pod.Labels, pod.Annotations = Labels(s.Application, s.Type, p.Component), Notes(s.Application, s.Type, p.Component)
	_, err := c.client.CoreV1().Pods(s.Team.Namespace).Create(ctx, pod, metav1.CreateOptions{
		FieldManager: fieldManager, FieldValidation: metav1.FieldValidationStrict, DryRun: []string{metav1.DryRunAll},
	})
	if err == nil {
		return nil
	}
	return c.fault("kube.Check", fmt.Sprintf("in the namespace %s", s.Team.Namespace), err)
}
