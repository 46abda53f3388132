package chart_test

import (
	"fmt"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/pndaproject/deployment-manager/deploy/testcluster"
)

// testTeams: who may not do himself what the server may is told what is missing, and
// nothing is half there; then the server has all its rights where a team works, and
// what running jobs need outlives the release.
func testTeams(t *testing.T, cluster *testcluster.Cluster) {
	r, team := newRig(t, cluster, "with-teams"), newRig(t, cluster, "team-data")
	values := parse(t, `kubernetes: {enabled: true, teams: {data: {namespace: team-data, images: ["spark:*"], quota: {pods: "5"}}}}
config: {spark: {images: {"4.0.4": "spark:4.0.4"}}}`)
	r.grant("team-data", rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"})
	_, err := r.helm.Install(t.Context(), release, loadChart(t), values)
	if err == nil || !strings.Contains(err.Error(), "sparkoperator.k8s.io") && !strings.Contains(err.Error(), "resourcequotas") {
		t.Fatalf("installed by an admin of namespaces: %v, want a refusal that names what is missing", err)
	}
	if err := r.helm.Uninstall(t.Context(), release); err != nil {
		t.Fatal(err)
	}

	rules := append(serverRules(t), rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"resourcequotas"}, Verbs: []string{"*"}})
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "engines-to-give"}, Rules: rules}
	if _, err := r.client.RbacV1().Roles("team-data").Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.grant("team-data", rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name})
	if _, err := r.helm.Install(t.Context(), release, loadChart(t), values); err != nil {
		t.Fatal(err)
	}
	r.noWarnings()
	team.checkObjects([]string{"ServiceAccount/pnda-driver", "ResourceQuota/deployment-manager-data"}, nil)
	r.checkRights("team-data", true)
	r.checkRights("with-teams", false)

	if err := r.helm.Uninstall(t.Context(), release); err != nil {
		t.Fatal(err)
	}
	team.checkObjects([]string{"ServiceAccount/pnda-driver", "Role/pnda-driver", "RoleBinding/pnda-driver"},
		[]string{"Role/deployment-manager-engines", "RoleBinding/deployment-manager-engines", "ResourceQuota/deployment-manager-data"})
	if _, err := r.helm.Install(t.Context(), release, loadChart(t), values); err != nil {
		t.Errorf("installed again: %v", err)
	}
}

// grant gives who installs a role in another namespace too.
func (r *rig) grant(namespace string, role rbacv1.RoleRef) {
	r.Helper()
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "grant-" + role.Name}, RoleRef: role,
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "team-" + r.namespace}},
	}
	if _, err := r.client.RbacV1().RoleBindings(namespace).Create(r.Context(), binding, metav1.CreateOptions{}); err != nil {
		r.Fatal(err)
	}
}

// serverRules are the server's own list.
func serverRules(t *testing.T) []rbacv1.PolicyRule {
	t.Helper()
	var rules []rbacv1.PolicyRule
	if err := yaml.UnmarshalStrict([]byte(contentOf(t, project+"/plugins/kube/role.yaml")), &rules); err != nil {
		t.Fatal(err)
	}
	return rules
}

// checkRights wants that the server has all of its rights in a namespace, or none.
func (r *rig) checkRights(namespace string, want bool) {
	r.Helper()
	account := "system:serviceaccount:" + r.namespace + ":" + name
	for _, rule := range serverRules(r.T) {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				resource, sub, _ := strings.Cut(resource, "/")
				asked := authorizationv1.ResourceAttributes{Namespace: namespace, Group: rule.APIGroups[0], Resource: resource, Subresource: sub, Verb: verb}
				eventually(r.T, fmt.Sprintf("%s may %s: %v", account, asked.String(), want), func() error {
					review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: account, ResourceAttributes: &asked}}
					got, err := r.client.AuthorizationV1().SubjectAccessReviews().Create(r.Context(), review, metav1.CreateOptions{})
					if err == nil && got.Status.Allowed != want {
						err = fmt.Errorf("it is %v: %s", got.Status.Allowed, got.Status.Reason)
					}
					return err
				})
			}
		}
	}
}
