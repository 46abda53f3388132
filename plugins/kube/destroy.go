package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/wait"

	dm "github.com/pndaproject/deployment-manager"
)

// goneTime is how long Destroy waits for what it removed to be gone before it says
// that it will look again.
const goneTime = 15 * time.Second

// Destroy removes all that was made for a component type of app, in every team's
// namespace, by names alone. It returns when it is gone; kind Unavailable when that
// takes longer, and what holds it.
func (c *Cluster) Destroy(ctx context.Context, app dm.ApplicationName, t dm.ComponentType) error {
	var faults []error
	for _, namespace := range c.namespaces() { // one that can't be reached keeps nothing in the others
		faults = append(faults, c.destroyIn(ctx, namespace, app, t))
	}
	return errors.Join(faults...)
}

func (c *Cluster) destroyIn(ctx context.Context, namespace string, app dm.ApplicationName, t dm.ComponentType) error {
	patience := goneTime
	if end, has := ctx.Deadline(); has {
		patience = min(patience, time.Until(end)*3/4) // the rest is for asking what is left
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var left []wanted
	err := wait.PollUntilContextCancel(limited, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		now, err := c.sweep(ctx, namespace, app, t)
		if err == nil {
			left = now
		}
		return err == nil && len(left) == 0, err
	})
	if err == nil || limited.Err() == nil {
		return err
	}
	return dm.Errorf(dm.Unavailable, "kube.Destroy", "the namespace %s still holds %s", namespace, c.remaining(ctx, namespace, left)).Because(err)
}

// sweep removes the root, with all that belongs to it, and tells what there still was
// of it. When the root is gone, so do objects that have lost it: somebody deleted it
// and kept what belonged to it.
func (c *Cluster) sweep(ctx context.Context, namespace string, app dm.ApplicationName, t dm.ComponentType) ([]wanted, error) {
	root, err := c.get(ctx, kinds[0], namespace, rootName(app, t))
	if err != nil {
		return nil, err
	}
	if root != nil && ours(root, app, t) {
		return append(told(root), wanted{"", kinds[0], root}), c.deleteOnce(ctx, kinds[0], root)
	}
	mine := labels.Set{managedBy: manager, applicationID: ApplicationID(app), typeLabel: label(string(t))}.String()
	var left []wanted
	for _, k := range kinds {
		list, err := c.list(ctx, k, namespace, mine)
		if err != nil {
			return nil, err
		}
		for i := range list {
			o := &list[i]
			if !ours(o, app, t) || madeByOthers(o) {
				continue
			}
			left = append(left, wanted{"", k, o})
			if err := c.deleteOnce(ctx, k, o); err != nil {
				return nil, err
			}
		}
	}
	return left, nil
}

// deleteOnce deletes what is not being removed yet.
func (c *Cluster) deleteOnce(ctx context.Context, k kind, o *unstructured.Unstructured) error {
	if o.GetDeletionTimestamp() != nil {
		return nil
	}
	return c.delete(ctx, k, o)
}

// remaining names what of the objects is not gone, and what keeps it.
func (c *Cluster) remaining(ctx context.Context, namespace string, objects []wanted) string {
	var names []string
	for _, o := range objects {
		if live, err := c.get(ctx, o.kind, namespace, o.GetName()); err == nil && live != nil {
			names = append(names, o.ref()+held(live))
		}
	}
	if len(names) == 0 {
		return "what belonged to the application"
	}
	return strings.Join(names, ", ")
}

// list reads the objects of a kind; of one that is not served there are none.
func (c *Cluster) list(ctx context.Context, k kind, namespace, selector string) ([]unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	list, err := c.in(k, namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if isUnknownKind(err) {
		return nil, nil
	}
	if err != nil {
		return nil, c.fault("kube.list", fmt.Sprintf("%s in the namespace %s", k.resource, namespace), err)
	}
	return list.Items, nil
}
