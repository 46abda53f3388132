package chart_test

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const teams = `kubernetes: {enabled: true, teams: {
  data: {namespace: team-data, images: ["spark:*"], quota: {pods: "5"}},
  ops: {namespace: team-data, images: ["spark:*"]},
  lab: {serviceAccount: lab-driver, images: [own], pullSecrets: [registry]}}}
config: {spark: {images: {"4.0.4": "spark:4.0.4"}}}
`

// TestTeams: the server gets its rights where teams work, and nowhere else; drivers
// get theirs, which stay when the release goes.
func TestTeams(t *testing.T) {
	t.Parallel()
	made, _ := rendered(t, teams)
	if got := at(t, made["StatefulSet/"+name], "spec.template.spec.automountServiceAccountToken"); got != true {
		t.Errorf("automountServiceAccountToken = %v, want true", got)
	}
	var config struct {
		Kubernetes struct {
			Enabled  bool
			FilesURL string `json:"files_url"`
			Teams    map[string]map[string]any
		}
	}
	text, _ := at(t, made["ConfigMap/"+name], "data.config~yaml").(string)
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	k := config.Kubernetes
	if !k.Enabled || !strings.HasPrefix(k.FilesURL, "http://deployment-manager.") || !strings.HasSuffix(k.FilesURL, ".svc:5000") || len(k.Teams) != 3 {
		t.Errorf("kubernetes = %+v, want enabled, the Service's address and three teams", k)
	}
	if got := k.Teams["data"]["serviceAccount"]; got != "pnda-driver" {
		t.Errorf("serviceAccount = %v, want the chart's", got)
	}
	if _, told := k.Teams["data"]["quota"]; told {
		t.Error("the server is told of a quota, which is the cluster's to keep")
	}
	for _, object := range []string{"ServiceAccount/pnda-driver", "Role/pnda-driver", "RoleBinding/pnda-driver", "ServiceAccount/lab-driver"} {
		if made[object] == nil || made[object].GetAnnotations()["helm.sh/resource-policy"] != "keep" {
			t.Errorf("%s is not there, or goes with the release", object)
		}
	}
	if got := at(t, made["ResourceQuota/"+name+"-data"], "spec.hard.pods"); got != "5" {
		t.Errorf("quota of pods = %v, want 5", got)
	}
	var rules []any
	list, err := os.ReadFile("../../../plugins/kube/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(list, &rules); err != nil {
		t.Fatal(err)
	}
	if got := at(t, made["Role/"+name+"-engines"], "rules"); !reflect.DeepEqual(got, rules) {
		t.Errorf("rules = %v, want those of the server's own list", got)
	}
	peers, _ := at(t, made["NetworkPolicy/"+name], "spec.ingress").([]any)
	if len(peers) != 2 {
		t.Errorf("ingress = %v, want a rule for teams' pods", peers)
	}
}

func TestWithoutTeams(t *testing.T) {
	t.Parallel()
	made, _ := rendered(t, `{}`)
	if got := at(t, made["StatefulSet/"+name], "spec.template.spec.automountServiceAccountToken"); got != false {
		t.Errorf("automountServiceAccountToken = %v, want false", got)
	}
	for object := range made {
		if kind, _, _ := strings.Cut(object, "/"); slices.Contains([]string{"Role", "RoleBinding", "ResourceQuota", "ClusterRole"}, kind) {
			t.Errorf("%s is made, want no right without kubernetes.enabled", object)
		}
	}
}
