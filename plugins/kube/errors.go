package kube

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	dm "github.com/pndaproject/deployment-manager"
)

// refusal is one sort of answer of the API server, and what it means to people.
type refusal struct {
	status int            // of the answer; 0 for any
	said   *regexp.Regexp // in its message
	fault  bool           // of the change: who asked for it must act; else it is tried again
	means  string         // with the groups of said as $1, $2 …; "" for the message
}

// The refusals, first match first. What the API server says is not an interface of
// its own, so that what is in no row is judged by its status alone.
var refusals = []refusal{
	{http.StatusForbidden, regexp.MustCompile(`exceeded quota: ([^,]+), requested: ([^ ]+), used: ([^ ]+), limited: ([^ ]+)`), true,
		"the quota $1 of the namespace is exceeded: asked for $2, in use $3, limit $4"},
	{http.StatusForbidden, regexp.MustCompile(`failed quota: ([^:]+): must specify (.+?)(?: for: .*)?$`), true,
		"the quota $1 of the namespace asks for $2"},
	{http.StatusForbidden, regexp.MustCompile(`violates PodSecurity "([^":]+)[^"]*": (.+)$`), true,
		"the namespace does not allow such a pod (Pod Security $1): $2"},
	{http.StatusForbidden, regexp.MustCompile(`admission webhook "([^"]+)" denied the request: (.+)$`), true, "refused by $1: $2"},
	{http.StatusForbidden, regexp.MustCompile(`error looking up service account [^ ]+: serviceaccount "([^"]+)" not found`), false,
		"the service account $1 is missing in the namespace"},
	{http.StatusForbidden, regexp.MustCompile(`User "[^"]*" cannot ([a-z]+) resource "([^"]+)" in API group "([^"]*)" in the namespace "([^"]+)"`), false,
		"the server may not $1 $2 $3 in the namespace $4; whoever installed it grants this (docs/kubernetes.md)"},
	{http.StatusForbidden, regexp.MustCompile(`because it is being terminated`), false, "the namespace is being removed"},
	{http.StatusNotFound, regexp.MustCompile(`namespaces "([^"]+)" not found`), false, "the namespace $1 does not exist"},
	{http.StatusBadRequest, regexp.MustCompile(`admission webhook "([^"]+)" denied the request: (.+)$`), true, "refused by $1: $2"},
	{0, regexp.MustCompile(`failed calling webhook "([^"]+)"`), false, "the admission webhook $1 does not answer"},
	// Server-side apply answers 500 to a field that the schema does not have.
	{http.StatusInternalServerError, regexp.MustCompile(`failed to create typed patch object \([^)]*\): (?s:(.+))$`), true, "$1"},
	{0, regexp.MustCompile(`admission webhook "([^"]+)" denied the request: (.+)$`), true, "refused by $1: $2"},
}

// verdict says what an error of a request means: one sentence or more, and whether
// they are faults of the change. An error that is none of the API server's is the
// network's.
func verdict(err error) (texts []string, fault bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return []string{"the API server of the cluster can't be reached"}, false
	}
	s := status.Status()
	for _, r := range refusals {
		if r.status != 0 && r.status != int(s.Code) {
			continue
		}
		if at := r.said.FindStringSubmatchIndex(s.Message); at != nil {
			return []string{plain(string(r.said.ExpandString(nil, r.means, s.Message, at)))}, r.fault
		}
	}
	switch s.Code {
	case http.StatusUnprocessableEntity:
		return causes(s), true
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return []string{plain(s.Message)}, true
	case http.StatusUnauthorized:
		return []string{"the API server of the cluster does not accept the server's credentials"}, false
	case http.StatusForbidden: // an API server that has just started says so too, before it has read its rules
		return []string{"the API server of the cluster refused: " + plain(s.Message)}, false
	case http.StatusConflict:
		return []string{"the object was changed at the same time"}, false
	}
	return []string{"the API server of the cluster can't do it now: " + plain(s.Message)}, false
}

// causes are the faults of an object, each with its field.
func causes(s metav1.Status) []string {
	if s.Details == nil || len(s.Details.Causes) == 0 {
		return []string{plain(s.Message)}
	}
	var texts []string
	for _, c := range s.Details.Causes {
		text := plain(c.Message)
		if c.Field != "" && c.Field != "<nil>" && !strings.HasPrefix(text, c.Field) {
			text = c.Field + ": " + text
		}
		texts = append(texts, text)
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

// plain is one line of what a cluster said, of bounded length.
func plain(text string) string {
	const most = 600
	text = dm.Printable(strings.Join(strings.Fields(text), " "))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " …"
	}
	return text
}

// fault is the error of a request that is about no object, or none of a kind that
// may be missing.
func (c *Cluster) fault(op, about string, err error) error {
	texts, ofChange := verdict(err)
	text := strings.Join(texts, "; ")
	if about != "" {
		text = about + ": " + text
	}
	if ofChange {
		return dm.Errorf(dm.Invalid, op, "%s", text).Because(err)
	}
	return dm.Errorf(dm.Unavailable, op, "%s", text).Because(err)
}

// failed is the error of a request about an object. A kind that is not there may
// come, so that it is waited for.
func (c *Cluster) failed(op string, k kind, namespace, name string, err error) error {
	if unknown, _ := isUnknownKind(err); unknown {
		return dm.Errorf(dm.Unavailable, op, "%s", k.missing(namespace)).Because(err)
	}
	return c.fault(op, fmt.Sprintf("%s/%s in the namespace %s", k.resource, name, namespace), err)
}

// isUnknownKind tells an API server that does not serve a kind from one that has no
// such object: the first does not say of which name it speaks.
func isUnknownKind(err error) (bool, metav1.Status) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false, metav1.Status{}
	}
	s := status.Status()
	return s.Code == http.StatusNotFound && (s.Details == nil || s.Details.Name == ""), s
}

// held says which finalizers keep an object that is to go.
func held(o *unstructured.Unstructured) string {
	waits := slices.DeleteFunc(slices.Clone(o.GetFinalizers()), func(f string) bool { return f == metav1.FinalizerDeleteDependents })
	if len(waits) == 0 {
		return ""
	}
	return fmt.Sprintf("; it waits for the finalizer %s, which whoever set it must take off", strings.Join(waits, ", "))
}
