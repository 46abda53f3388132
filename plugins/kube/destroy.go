package kube

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
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
	for _, namespace := range c.namespaces() {
		if err := c.destroyIn(ctx, namespace, app, t); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) destroyIn(ctx context.Context, namespace string, app dm.ApplicationName, t dm.ComponentType) error {
	root, err := c.get(ctx, kinds[0], namespace, rootName(app, t))
	if err != nil {
		return err
	}
	if root != nil && ours(root, app, t) {
		if err := c.delete(ctx, kinds[0], root); err != nil {
			return err
		}
		if err := c.awaitGone(ctx, namespace, root.GetName(), root.GetUID(), told(root)); err != nil {
			return err
		}
	}
	return c.removeOrphans(ctx, namespace, app, t)
}

// awaitGone waits until no object of that uid has the name.
func (c *Cluster) awaitGone(ctx context.Context, namespace, name string, uid types.UID, objects []wanted) error {
	limited, cancel := context.WithTimeout(ctx, goneTime)
	defer cancel()
	err := wait.PollUntilContextCancel(limited, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		root, err := c.get(ctx, kinds[0], namespace, name)
		return err == nil && (root == nil || root.GetUID() != uid), err
	})
	if limited.Err() == nil || err == nil {
		return err
	}
	return dm.Errorf(dm.Unavailable, "kube.Destroy", "the namespace %s still holds %s", namespace, c.remaining(ctx, namespace, objects)).Because(err)
}

// remaining names what is not gone, and what keeps it.
func (c *Cluster) remaining(ctx context.Context, namespace string, objects []wanted) string {
	var names []string
	for _, o := range objects {
		if live, err := c.get(ctx, o.kind, namespace, o.GetName()); err == nil && live != nil {
			names = append(names, o.ref()+held(live))
		}
	}
	if len(names) == 0 {
		return "pods that end"
	}
	return strings.Join(names, ", ")
}

// removeOrphans removes what is ours and has lost its root: somebody deleted that
// and kept what belonged to it.
func (c *Cluster) removeOrphans(ctx context.Context, namespace string, app dm.ApplicationName, t dm.ComponentType) error {
	mine := labels.Set{managedBy: manager, applicationID: ApplicationID(app), typeLabel: label(string(t))}.String()
	for _, k := range kinds {
		list, err := c.list(ctx, k, namespace, mine)
		if err != nil {
			return err
		}
		for i := range list {
			if o := &list[i]; ours(o, app, t) && o.GetDeletionTimestamp() == nil && !madeByOthers(o) {
				if err := c.delete(ctx, k, o); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// madeByOthers tells what an operator or a job made in turn, with the labels that it
// was given: that goes with what made it.
func madeByOthers(o *unstructured.Unstructured) bool {
	owner := metav1.GetControllerOf(o)
	return owner != nil && owner.Kind != "ConfigMap"
}

// list reads the objects of a kind; of one that is not served there are none.
func (c *Cluster) list(ctx context.Context, k kind, namespace, selector string) ([]unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	list, err := c.in(k, namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if unknown, _ := isUnknownKind(err); unknown {
		return nil, nil
	}
	if err != nil {
		return nil, c.fault("kube.list", fmt.Sprintf("%s in the namespace %s", k.resource, namespace), err)
	}
	return list.Items, nil
}
