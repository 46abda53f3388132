package kube

import (
	"crypto/x509"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	dm "github.com/pndaproject/deployment-manager"
)

// refusal is one sort of answer of the API server, and what it means to people.
type refusal struct {
	status int            // of the answer; 0 for any
	said   *regexp.Regexp // in its message
	fault  bool           // of the change: who asked for it must act; else it is tried again
	means  string         // with the groups of said as $1, $2 …
}

// The refusals, first match first. What the API server says is not an interface of
// its own, so that what is in no row is judged by its status alone.
var refusals = []refusal{
	// Webhooks. One that is away refuses all, with whatever status.
	{0, regexp.MustCompile(`failed calling webhook "([^"]+)"`), false, "the admission webhook $1 does not answer"},
	{0, regexp.MustCompile(`(?s)admission webhook "([^"]+)" denied the request: (.+)$`), true, "refused by $1: $2"},
	{0, regexp.MustCompile(`admission webhook "([^"]+)" denied the request without explanation`), true, "refused by $1, which does not say why"},

	// What the cluster, or an API server that has just started, does not have yet.
	{http.StatusForbidden, regexp.MustCompile(`User "[^"]*" cannot ([a-z]+) resource "([^"]+)" in API group ""(?: in the namespace "([^"]+)")?`), false,
		"the server may not $1 $2 in the namespace $3; whoever installed it grants this (docs/kubernetes.md)"},
	{http.StatusForbidden, regexp.MustCompile(`User "[^"]*" cannot ([a-z]+) resource "([^"]+)" in API group "([^"]+)"(?: in the namespace "([^"]+)")?`), false,
		"the server may not $1 $2.$3 in the namespace $4; whoever installed it grants this (docs/kubernetes.md)"},
	{http.StatusForbidden, regexp.MustCompile(`User "[^"]*" cannot `), false, "the server is not allowed this; whoever installed it grants it (docs/kubernetes.md)"},
	{http.StatusForbidden, regexp.MustCompile(`error looking up service account [^ ]+: serviceaccount "([^"]+)" not found`), false,
		"the service account $1 is missing in the namespace"},
	{http.StatusForbidden, regexp.MustCompile(`because it is being terminated`), false, "the namespace is being removed"},
	{http.StatusForbidden, regexp.MustCompile(`not yet ready to handle request|status unknown for quota`), false, "the API server of the cluster is still starting"},
	{http.StatusNotFound, regexp.MustCompile(`namespaces "([^"]+)" not found`), false, "the namespace $1 does not exist"},

	// The rules of the namespace.
	{http.StatusForbidden, regexp.MustCompile(`exceeded quota: ([^,]+), requested: ([^ ]+), used: ([^ ]+), limited: ([^ ]+)`), true,
		"the quota $1 of the namespace is exceeded: asked for $2, in use $3, limit $4"},
	{http.StatusForbidden, regexp.MustCompile(`failed quota: ([^:]+): must specify (.+?)(?: for: .*)?$`), true,
		"the quota $1 of the namespace asks for $2"},
	{http.StatusForbidden, regexp.MustCompile(`(?s)violates PodSecurity "([^":]+)[^"]*": (.+)$`), true,
		"the namespace does not allow such a pod (Pod Security $1): $2"},
	// Whatever else admission forbids: LimitRange, PriorityClass, policies.
	{http.StatusForbidden, regexp.MustCompile(`(?s) is forbidden: (.+)$`), true, "the cluster does not allow it: $1"},

	// Server-side apply answers 500 to a field that the schema does not have.
	{http.StatusInternalServerError, regexp.MustCompile(`(?s)failed to create typed patch object \([^)]*\): (?:errors:)?(.+)$`), true, "$1"},
}

// verdict says what an error of a request means, and whether it is a fault of the
// change. An error that is none of the API server's is the network's.
func verdict(err error) (text string, fault bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		var untrusted x509.UnknownAuthorityError
		if errors.As(err, &untrusted) {
			return "the certificate of the API server of the cluster is not one that the server trusts", false
		}
		return "the API server of the cluster can't be reached", false
	}
	s := status.Status()
	for _, r := range refusals {
		if r.status != 0 && r.status != int(s.Code) {
			continue
		}
		if at := r.said.FindStringSubmatchIndex(s.Message); at != nil {
			return plain(string(r.said.ExpandString(nil, r.means, s.Message, at))), r.fault
		}
	}
	switch s.Code {
	case http.StatusUnprocessableEntity:
		return causes(s), true
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return plain(s.Message), true
	case http.StatusUnauthorized:
		return "the API server of the cluster does not accept the server's credentials", false
	case http.StatusConflict:
		return "the object was changed at the same time", false
	}
	return "the API server of the cluster can't do it now: " + plain(s.Message), false
}

// causes are the faults of an object, each with its field.
func causes(s metav1.Status) string {
	if s.Details == nil || len(s.Details.Causes) == 0 {
		return plain(s.Message)
	}
	var texts []string
	for _, c := range s.Details.Causes {
		text := brief(c.Message)
		if c.Field != "" && c.Field != "<nil>" && !strings.HasPrefix(text, c.Field) {
			text = c.Field + ": " + text
		}
		texts = append(texts, text)
	}
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), "; ")
}

// wholeValue is an object or a list in a cause.
var wholeValue = regexp.MustCompile(`(?s)^([A-Za-z ]+ value): ([{\[].*[}\]]): `)

// brief leaves out the value of a cause where it is an object in whole: what is wrong
// with it stands behind it.
func brief(text string) string { return plain(wholeValue.ReplaceAllString(text, "$1: ")) }

// plain is one line of what a cluster said, of bounded length.
func plain(text string) string {
	const most = 600
	var lines []string
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 {
			lines = append(lines, strings.Join(words, " "))
		}
	}
	text = dm.Printable(strings.Join(lines, "; "))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " …"
	}
	return text
}
