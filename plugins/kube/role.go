package kube

import (
	"context"
	_ "embed"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

//go:embed role.yaml
var roleText []byte

// Rules are what the server must be allowed in the namespace of each team.
func Rules() []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	if err := yaml.UnmarshalStrict(roleText, &rules); err != nil {
		panic(fmt.Errorf("kube: role.yaml: %w", err)) // it is compiled in, and a test reads it
	}
	return rules
}

// Missing names each right of Rules that the server does not have, in each team's
// namespace, as "missing permission: patch sparkapplications.sparkoperator.k8s.io in
// pnda". Kind Unavailable when nobody could be asked.
func (c *Cluster) Missing(ctx context.Context) ([]string, error) {
	var questions []authorizationv1.ResourceAttributes
	for _, namespace := range c.namespaces() {
		for _, rule := range Rules() {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					questions = append(questions, attributes(namespace, rule.APIGroups[0], resource, verb))
				}
			}
		}
	}
	missing := make([]string, len(questions))
	var asked errgroup.Group
	asked.SetLimit(checksAtOnce)
	for i, q := range questions {
		asked.Go(func() (err error) {
			missing[i], err = c.lacks(ctx, q)
			return err
		})
	}
	if err := asked.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(missing, func(text string) bool { return text == "" }), nil
}

func attributes(namespace, group, resource, verb string) authorizationv1.ResourceAttributes {
	a := authorizationv1.ResourceAttributes{Namespace: namespace, Group: group, Verb: verb, Version: "*"}
	for i, c := range resource {
		if c == '/' {
			a.Resource, a.Subresource = resource[:i], resource[i+1:]
			return a
		}
	}
	a.Resource = resource
	return a
}

// lacks asks for one right; "" when it is there.
func (c *Cluster) lacks(ctx context.Context, a authorizationv1.ResourceAttributes) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	answer, err := c.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &a},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", c.fault("kube.Missing", "", err)
	}
	if answer.Status.Allowed {
		return "", nil
	}
	resource := a.Resource
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	if a.Group != "" {
		resource += "." + a.Group
	}
	return fmt.Sprintf("missing permission: %s %s in %s", a.Verb, resource, a.Namespace), nil
}
