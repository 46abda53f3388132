package kube

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	dm "github.com/pndaproject/deployment-manager"
)

// fieldManager owns, for the API server, the fields that are wanted here.
const fieldManager = "pnda-dm"

// Apply brings the cluster to what s asks for: the root first, which tells of all
// that was and will be, then each object, then what is no longer wanted goes, and the
// root forgets it. Kinds: Invalid (the API server will not take it, a person must
// act), Conflict (a foreign object has the name), Unavailable (tried again).
func (c *Cluster) Apply(ctx context.Context, s Set) error {
	const op = "kube.Apply"
	objects, err := s.build()
	if err != nil {
		return dm.Wrap(op, err)
	}
	before, err := c.root(ctx, s)
	if err != nil {
		return err
	}
	gone := goneFrom(before, objects)
	root, err := c.applyRoot(ctx, s, before, slices.Concat(objects, gone))
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := c.applyObject(ctx, s, root, o); err != nil {
			return err
		}
	}
	for _, o := range gone {
		if err := c.remove(ctx, s, o); err != nil {
			return err
		}
	}
	if len(gone) > 0 {
		_, err = c.applyRoot(ctx, s, root, objects)
	}
	c.noteApplied(s.Application, s.Type)
	return err
}

// root reads the root of s, nil when there is none.
func (c *Cluster) root(ctx context.Context, s Set) (*unstructured.Unstructured, error) {
	root, err := c.get(ctx, kinds[0], s.Team.Namespace, rootName(s.Application, s.Type))
	switch {
	case err != nil || root == nil:
		return nil, err
	case !ours(root, s.Application, s.Type):
		return nil, foreign(kinds[0], root)
	case root.GetDeletionTimestamp() != nil:
		return nil, dm.Errorf(dm.Unavailable, "kube.Apply", "what stood of %s before is still being removed from the namespace %s%s", s.Application, s.Team.Namespace, held(root))
	}
	return root, nil
}

// goneFrom are the objects that root tells of and that are not wanted any more.
func goneFrom(root *unstructured.Unstructured, objects []wanted) []wanted {
	if root == nil {
		return nil
	}
	return slices.DeleteFunc(told(root), func(o wanted) bool {
		return slices.ContainsFunc(objects, func(w wanted) bool { return w.key() == o.key() })
	})
}

// applyRoot writes the root, unless it says so already.
func (c *Cluster) applyRoot(ctx context.Context, s Set, before *unstructured.Unstructured, objects []wanted) (*unstructured.Unstructured, error) {
	root, err := rootFor(s, objects)
	if err != nil {
		return nil, err
	}
	if before != nil {
		root.SetUID(before.GetUID()) // another one of the same name is not ours to write
	}
	return c.patch(ctx, kinds[0], root)
}

// applyObject makes one object what it shall be. One of the same name that belongs
// to another root, or to nobody, stays as it is.
func (c *Cluster) applyObject(ctx context.Context, s Set, root *unstructured.Unstructured, o wanted) error {
	live, err := c.get(ctx, o.kind, s.Team.Namespace, o.GetName())
	if err != nil {
		return err
	}
	object := o.DeepCopy()
	if live != nil {
		if !ours(live, s.Application, s.Type) || madeByOthers(live) {
			return foreign(o.kind, live)
		}
		if live.GetDeletionTimestamp() != nil {
			return dm.Errorf(dm.Unavailable, "kube.Apply", "the object %s in the namespace %s is still being removed%s", o.ref(), s.Team.Namespace, held(live))
		}
		object.SetUID(live.GetUID()) // another one of the same name is not ours to write
	}
	yes := true
	object.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: "v1", Kind: "ConfigMap", Name: root.GetName(), UID: root.GetUID(), Controller: &yes, BlockOwnerDeletion: &yes,
	}})
	_, err = c.patch(ctx, o.kind, object)
	return err
}

func foreign(k kind, o *unstructured.Unstructured) error {
	return dm.Errorf(dm.Conflict, "kube.Apply", "the object %s/%s in the namespace %s was not made by this server, and is left alone", k.resource, o.GetName(), o.GetNamespace()).
		WithHint("remove or rename it, then try again")
}

// patch is one server-side apply.
func (c *Cluster) patch(ctx context.Context, k kind, object *unstructured.Unstructured, dry ...string) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	body, err := object.MarshalJSON() // which is YAML too
	if err != nil {
		return nil, dm.Wrap("kube.patch", err)
	}
	yes := true
	live, err := c.in(k, object.GetNamespace()).Patch(ctx, object.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{
		FieldManager: fieldManager, Force: &yes, FieldValidation: metav1.FieldValidationStrict, DryRun: dry,
	})
	if err != nil {
		return nil, c.failed("kube.Apply", k, object.GetNamespace(), object.GetName(), err)
	}
	return live, nil
}

// get reads one object, nil when there is none.
func (c *Cluster) get(ctx context.Context, k kind, namespace, name string) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	live, err := c.in(k, namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !isUnknownKind(err) {
		return nil, nil
	}
	if err != nil {
		return nil, c.failed("kube.get", k, namespace, name, err)
	}
	return live, nil
}

// remove deletes an object that s does not want any more. One that is not ours, or
// not any more, stays.
func (c *Cluster) remove(ctx context.Context, s Set, o wanted) error {
	live, err := c.get(ctx, o.kind, s.Team.Namespace, o.GetName())
	if isUnknownKind(err) {
		return nil // its objects went with the kind
	}
	if err != nil || live == nil || !ours(live, s.Application, s.Type) || madeByOthers(live) {
		return err
	}
	return c.delete(ctx, o.kind, live)
}

// delete removes exactly that object, and what belongs to it before it.
func (c *Cluster) delete(ctx context.Context, k kind, live *unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	uid, foreground := live.GetUID(), metav1.DeletePropagationForeground
	err := c.in(k, live.GetNamespace()).Delete(ctx, live.GetName(), metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &foreground,
	})
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) { // another one has its name by now
		return nil
	}
	return c.failed("kube.delete", k, live.GetNamespace(), live.GetName(), err)
}
