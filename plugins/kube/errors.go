package kube

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	dm "github.com/pndaproject/deployment-manager"
)

// fault is the error of a request that is about no object, or none of a kind that
// may be missing.
func (c *Cluster) fault(op, about string, err error) error {
	text, ofChange := verdict(err)
	if about != "" {
		text = about + ": " + text
	}
	if ofChange {
		return dm.Errorf(dm.Invalid, op, "%s", text).Because(err)
	}
	e := dm.Errorf(dm.Unavailable, op, "%s", text).Because(err)
	if seconds, asks := apierrors.SuggestsClientDelay(err); asks {
		e = e.NotBefore(c.cfg.Clock().Add(time.Duration(seconds) * time.Second))
	}
	return e
}

// failed is the error of a request about an object. A kind that is not there may
// come, so that it is waited for.
func (c *Cluster) failed(op string, k kind, namespace, name string, err error) error {
	if isUnknownKind(err) {
		return dm.Errorf(dm.Unavailable, op, "%s", k.missing(namespace)).Because(err)
	}
	return c.fault(op, fmt.Sprintf("%s/%s in the namespace %s", k.resource, name, namespace), err)
}

// isUnknownKind tells an API server that does not serve a kind from one that has no
// such object: the first does not say of which name it speaks.
func isUnknownKind(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	s := status.Status()
	return s.Code == http.StatusNotFound && (s.Details == nil || s.Details.Name == "")
}

// held says which finalizers keep an object that is to go.
func held(o *unstructured.Unstructured) string {
	waits := slices.DeleteFunc(slices.Clone(o.GetFinalizers()), func(f string) bool { return f == metav1.FinalizerDeleteDependents })
	if len(waits) == 0 {
		return ""
	}
	return fmt.Sprintf("; it waits for the finalizer %s, which whoever set it must take off", strings.Join(waits, ", "))
}
