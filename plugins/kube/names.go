package kube

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// The longest name that all engines take: Flink's, and with what they append it
// stays below the 63 characters of labels and Services.
const nameMax = 45

// Labels and annotations of everything that is made.
const (
	managedBy     = "app.kubernetes.io/managed-by"
	manager       = "pnda-deployment-manager"
	applicationID = "pnda.io/application-id"
	componentID   = "pnda.io/component-id"
	typeLabel     = "pnda.io/type"

	applicationNote = "pnda.io/application"
	componentNote   = "pnda.io/component"
	typeNote        = "pnda.io/component-type"
	commitNote      = "pnda.io/git-commit"
)

var unfit = regexp.MustCompile(`[^a-z0-9]+`)

// Name is the name of an object of app: readable in front, and behind it a hash of
// all parts, without which a-b of c and a of b-c would be one. It is a DNS label
// that begins with a letter, of at most 45 characters.
func Name(app dm.ApplicationName, parts ...string) string {
	all := append([]string{string(app)}, parts...)
	hash := digest(all...)[:10]
	front := strings.Trim(unfit.ReplaceAllString(strings.ToLower(strings.Join(all, "-")), "-"), "-")
	if front == "" || front[0] < 'a' {
		front = "a" + front
	}
	front = strings.TrimRight(front[:min(len(front), nameMax-1-len(hash))], "-")
	return front + "-" + hash
}

// digest is the hash of a list of texts: with their lengths, so that no two lists
// are one text.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ApplicationID is the value of the label that all objects and pods of an
// application have.
func ApplicationID(app dm.ApplicationName) string { return digest(string(app))[:20] }

// ComponentID is the value of the label that all objects and pods of a component
// have.
func ComponentID(app dm.ApplicationName, t dm.ComponentType, component dm.ComponentName) string {
	return digest(string(app), string(t), string(component))[:20]
}

// Selector finds all that is made of a component.
func Selector(app dm.ApplicationName, t dm.ComponentType, component dm.ComponentName) map[string]string {
	return map[string]string{componentID: ComponentID(app, t, component)}
}

// Labels are those of everything that is made of a component, pods too; without a
// component, of what belongs to all of them. Their values are for selecting: the
// names as people gave them stand in annotations.
func Labels(app dm.ApplicationName, t dm.ComponentType, component dm.ComponentName) map[string]string {
	labels := map[string]string{
		managedBy: manager, applicationID: ApplicationID(app), typeLabel: label(string(t)),
		"app.kubernetes.io/name": label(string(t)), "app.kubernetes.io/part-of": label(string(app)),
	}
	if component != "" {
		labels[componentID] = ComponentID(app, t, component)
		labels["app.kubernetes.io/component"] = label(string(component))
	}
	return labels
}

var unfitLabel = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// label makes a legal value of a label out of any name.
func label(name string) string {
	const most = 63
	fit := unfitLabel.ReplaceAllString(name, "-")
	return strings.Trim(fit[:min(len(fit), most)], "-._")
}

// Notes are the annotations of everything that is made of a component, pods too: the
// names as people gave them.
func Notes(app dm.ApplicationName, t dm.ComponentType, component dm.ComponentName) map[string]string {
	notes := map[string]string{applicationNote: string(app), typeNote: string(t)}
	if component != "" {
		notes[componentNote] = string(component)
	}
	return notes
}
