package chart_test

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/util"
	"sigs.k8s.io/yaml"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/chart"
)

const teams = `kubernetes: {enabled: true, teams: {
  data: {namespace: team-data, images: ["spark:*"], quota: {pods: "5"}},
  ops: {namespace: team-data, images: ["spark:*"]},
  lab: {namespace: team-lab, serviceAccount: lab-driver, images: [own], pullSecrets: [registry]}}}
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
	peers, _ := at(t, made["NetworkPolicy/"+name], "spec.ingress").([]any)
	if len(peers) != 2 {
		t.Errorf("ingress = %v, want a rule for teams' pods", peers)
	}
}

// TestJobsGoOn: who installs is told what an uninstall leaves.
func TestJobsGoOn(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]bool{``: false, teams: true} {
		if _, notes := rendered(t, values); strings.Contains(notes, "Jobs go on") != want {
			t.Errorf("%s: the notes tell what goes on: %v, want %v", values, !want, want)
		}
	}
}

// TestRole: the rules are the server's own list, also in a packaged chart.
func TestRole(t *testing.T) {
	t.Parallel()
	const source = project + "/plugins/kube/role.yaml"
	if link, err := filepath.EvalSymlinks(filepath.Join(chart.Source, "files/role.yaml")); err != nil || link != source {
		t.Errorf("files/role.yaml is %s, %v; want a link to %s", link, err, source)
	}
	archive, err := util.Save(loadChart(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var rules []any
	if err := yaml.Unmarshal([]byte(contentOf(t, source)), &rules); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{chart.Source, archive} {
		loaded, err := chart.Load(from)
		if err != nil {
			t.Fatal(err)
		}
		made, err := chart.Render(t.Context(), release, loaded, parse(t, teams))
		if err != nil {
			t.Fatal(err)
		}
		if got := at(t, objects(t, made.Manifest)["Role/"+name+"-engines"], "rules"); !reflect.DeepEqual(got, rules) {
			t.Errorf("%s: rules = %v, want those of %s", from, got, source)
		}
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
