package chart_test

import (
	"strings"
	"testing"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/chart"
)

// TestRefusedValues gives values that cannot work. Each is refused before
// anything reaches a cluster, with a message that names the value.
func TestRefusedValues(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		values string
		want   []string
	}{
		{"unknown at the top", `replicas: 2`, []string{"replicas"}},
		{"unknown further down", `persistence: {sise: 5Gi}`, []string{"persistence", "sise"}},
		{"tag with a space", `image: {tag: "1 0"}`, []string{"image/tag"}},
		{"repository with a digest", `image: {repository: "a@sha256:0"}`, []string{"image/repository"}},
		{"digest cut short", `image: {digest: "sha256:abc"}`, []string{"image/digest"}},
		{"pull policy", `image: {pullPolicy: Sometimes}`, []string{"image/pullPolicy"}},
		{"name with a capital", `fullnameOverride: PNDA`, []string{"fullnameOverride"}},
		{"mode of sign-in", `auth: {mode: none}`, []string{"auth/mode"}},
		{"password instead of its hash", `auth: {users: {ana: secret}}`, []string{"auth/users/ana"}},
		{"group that is no list", `auth: {groups: {admin: ana}}`, []string{"auth/groups/admin"}},
		{"hub without a scheme", `jupyterhub: {url: "hub:8081"}`, []string{"jupyterhub/url"}},
		{"name of a TLS secret", `tls: {secretName: "Not A Name"}`, []string{"tls/secretName"}},
		{"sum cut short", `sync: {sha256: ["abc"]}`, []string{"sync/sha256/0"}},
		{"port of 0", `services: {manager: {port: 0}}`, []string{"services/manager/port"}},
		{"port as a text", `services: {git: {port: "8099"}}`, []string{"services/git/port"}},
		{"type of a Service", `services: {packages: {type: External}}`, []string{"services/packages/type"}},
		{"alias as a text", `services: {packages: {alias: "yes"}}`, []string{"services/packages/alias"}},
		{"host with a path", `ingress: {enabled: true, hosts: {git: "git.example.org/a"}}`, []string{"ingress/hosts/git"}},
		{"peer that is no object", `networkPolicy: {ingress: {from: [hub]}}`, []string{"networkPolicy/ingress/from"}},
		{"upgrade as a text", `upgrade: {accept: "yes"}`, []string{"upgrade/accept"}},
		{"size in words", `persistence: {size: ten}`, []string{"persistence/size"}},
		{"access mode that cannot write", `persistence: {accessModes: [ReadOnlyMany]}`, []string{"persistence/accessModes"}},
		{"memory in words", `resources: {limits: {memory: much}}`, []string{"resources/limits/memory"}},
		{"probe without a period", `readinessProbe: {periodSeconds: 0}`, []string{"readinessProbe/periodSeconds"}},
		{"too short a farewell", `terminationGracePeriodSeconds: 1`, []string{"terminationGracePeriodSeconds"}},
		{"budget of two pods", `podDisruptionBudget: {maxUnavailable: 2}`, []string{"podDisruptionBudget/maxUnavailable"}},
		{"variable without a name", `extraEnv: [{value: a}]`, []string{"extraEnv/0"}},
		{"option that does not exist", `config: {colour: red}`, []string{"config", "colour"}},
		{"level of the log", `config: {log: {level: loud}}`, []string{"config/log/level"}},
		{"team without a namespace", `kubernetes: {teams: {data: {images: [a]}}}`, []string{"kubernetes/teams/data", "namespace"}},
		{"team beside the server", `kubernetes: {teams: {data: {namespace: default, images: [a]}}}`, []string{"kubernetes.teams.data.namespace is that of the server"}},
		{"team without images", `kubernetes: {teams: {data: {namespace: a}}}`, []string{"kubernetes/teams/data", "images"}},
		{"namespace with a capital", `kubernetes: {teams: {data: {namespace: A, images: [a]}}}`, []string{"kubernetes/teams/data/namespace"}},
		{"port of the API server", `kubernetes: {apiPorts: [0]}`, []string{"kubernetes/apiPorts/0"}},
		{"address for files without a scheme", `kubernetes: {filesURL: "dm:5000"}`, []string{"kubernetes/filesURL"}},
		{"engine of Spark", `config: {spark: {engine: yarn}}`, []string{"config/spark/engine"}},
		{"cluster without teams", `kubernetes: {enabled: true}`, []string{"kubernetes.enabled", "kubernetes.teams"}},
		{"cluster without images", `kubernetes: {enabled: true, teams: {data: {namespace: a, images: [a]}}}`, []string{"kubernetes.enabled", "config.spark.images"}},

		{"option of the chart: data", `config: {data: /srv}`, []string{"config.data", "persistence"}},
		{"option of the chart: upgrade_format", `config: {upgrade_format: true}`, []string{"config.upgrade_format", "upgrade.accept"}},
		{"option of the chart: auth", `config: {auth: strict}`, []string{"config.auth", "auth.mode"}},
		{"option of the chart: hub", `config: {hub: {url: "http://hub"}}`, []string{"config.hub", "jupyterhub.url"}},
		{"option of the chart: kubernetes", `config: {kubernetes: {enabled: true}}`, []string{"config.kubernetes", "kubernetes.enabled"}},
		{"option as a variable", `extraEnv: [{name: DM_AUTH, value: strict}]`, []string{"extraEnv", "DM_AUTH"}},
		{"insecure without saying so twice", `auth: {mode: insecure-pnda}`, []string{"auth.mode", "auth.insecureAnywhere"}},
		{"users beside a Secret", `auth: {existingSecret: own, tokens: a}`, []string{"auth.existingSecret", "auth.tokens"}},
		{"user with a line break", `auth: {users: {"ana\nben": "` + someHash + `"}}`, []string{"ana", "does not match"}},
		{"service that is no part of a scope", `jupyterhub: {service: "a b!"}`, []string{"jupyterhub/service"}},
		{"two Services of one name", `services: {git: {name: deployment-manager}}`, []string{"services", "deployment-manager"}},
		{"alias that is there already", `services: {git: {name: pnda-package-repository}}`, []string{"services.packages.alias"}},
		{"two Services on one host", `ingress: {enabled: true, hosts: {git: a.example.org, packages: a.example.org}}`, []string{"ingress.hosts", "a.example.org"}},
		{"Ingress without a host", `ingress: {enabled: true}`, []string{"ingress.enabled", "ingress.hosts"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := chart.Render(t.Context(), release, loadChart(t), parse(t, test.values))
			if err == nil {
				t.Fatal("the values are accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the message does not name %q:\n%v", want, err)
				}
			}
		})
	}
}
