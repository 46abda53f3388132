package chart_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pndaproject/deployment-manager/deploy/testcluster"
)

// valueSet is something that people are expected to install.
type valueSet struct {
	name         string // the namespace's name too
	values       string
	with         []string // objects, besides those that there are always
	without      []string
	configHas    []string // lines of the server's configuration
	configHasNot []string
}

var valueSets = []valueSet{
	{
		name:         "defaults",
		with:         []string{"PersistentVolumeClaim/deployment-manager", "NetworkPolicy/deployment-manager", "PodDisruptionBudget/deployment-manager", "Secret/deployment-manager-auth", "Service/pnda-package-repository"},
		without:      []string{"Ingress/deployment-manager"},
		configHas:    []string{"auth: strict"},
		configHasNot: []string{"hub:", "tls:"},
	},
	{
		name:    "persistence-off",
		values:  `persistence: {enabled: false}`,
		without: []string{"PersistentVolumeClaim/deployment-manager"},
	},
	{
		name: "tls-and-ingress",
		values: `
tls: {secretName: server-tls}
ingress:
  enabled: true
  className: public
  annotations: {nginx.ingress.kubernetes.io/backend-protocol: HTTPS}
  hosts: {packages: packages.example.org, manager: manager.example.org, git: git.example.org}
  tlsSecretName: ingress-tls
networkPolicy: {ingress: {from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress}}}]}}
`,
		with:      []string{"Ingress/deployment-manager"},
		configHas: []string{"cert: /etc/deployment-manager/tls/tls.crt", "manager: https://manager.example.org"},
	},
	{
		name:    "no-alias",
		values:  `services: {packages: {alias: false}}`,
		without: []string{"Service/pnda-package-repository"},
	},
	{
		name: "jupyterhub",
		values: `
jupyterhub: {url: "https://hub.jupyter.svc:8081/hub/api", caConfigMap: hub-ca}
config:
  application_callback: http://console-backend-data-logger:3001/applications
  package_callback: https://logger.example.org/packages
`,
		configHas: []string{"url: https://hub.jupyter.svc:8081/hub/api", "service: deployment-manager", "reserved:\n  - admin", "ca: /etc/deployment-manager/hub-ca/ca.crt"},
	},
	{
		name:    "open-network",
		values:  `networkPolicy: {enabled: false}`,
		without: []string{"NetworkPolicy/deployment-manager"},
	},
	{
		name:   "open-egress",
		values: `networkPolicy: {egress: {enabled: false}}`,
		with:   []string{"NetworkPolicy/deployment-manager"},
	},
	{
		name:      "public-read",
		values:    `{auth: {mode: public-read}, config: {impersonators: [console], impersonate_admins: true}}`,
		configHas: []string{"auth: public-read", "- console"},
	},
	{
		name:      "insecure",
		values:    `{auth: {mode: insecure-pnda, insecureAnywhere: true}, persistence: {enabled: false}}`,
		without:   []string{"Secret/deployment-manager-auth"},
		configHas: []string{"auth: insecure-pnda", "insecure_anywhere: true"},
	},
	{
		name: "cluster-rules",
		values: `
podLabels: {team: data}
podAnnotations: {example.org/note: "1"}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: dedicated, operator: Exists, effect: NoSchedule}]
topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {team: data}}}]
extraEnv: [{name: HTTPS_PROXY, value: "http://proxy.example.org:3128"}]
resources: {limits: {memory: 2Gi, cpu: 2}}
serviceAccount: {create: false}
podDisruptionBudget: {enabled: false}
`,
		without: []string{"ServiceAccount/deployment-manager", "PodDisruptionBudget/deployment-manager"},
	},
}

// always is what every release has.
var always = []string{
	"StatefulSet/deployment-manager", "ConfigMap/deployment-manager", "ConfigMap/deployment-manager-sync",
	"Service/package-repository", "Service/deployment-manager", "Service/deployment-manager-git",
}

// TestOnCluster holds all that needs a control plane, so that one is enough.
func TestOnCluster(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t)
	// The inner run ends when all that is parallel in it has; then the cluster may.
	t.Run("all", func(t *testing.T) {
		t.Run("life", func(t *testing.T) { t.Parallel(); testLife(t, cluster) })
		t.Run("password", func(t *testing.T) { t.Parallel(); testPassword(t, cluster) })
		t.Run("teams", func(t *testing.T) { t.Parallel(); testTeams(t, cluster) })
		t.Run("unknown field", func(t *testing.T) { t.Parallel(); testUnknownField(t, cluster) })
		t.Run("unsafe pod", func(t *testing.T) { t.Parallel(); testUnsafePod(t, cluster) })
		for _, set := range valueSets {
			t.Run("install "+set.name, func(t *testing.T) {
				t.Parallel()
				testInstall(t, newRig(t, cluster, set.name), set)
			})
		}
	})
}

// testInstall installs the values into a namespace of their own, as a user with
// no right outside it, and looks at what the cluster made of it.
func testInstall(t *testing.T, r *rig, set valueSet) {
	if _, err := r.helm.Install(t.Context(), release, loadChart(t), parse(t, set.values)); err != nil {
		t.Fatal(err)
	}
	r.noWarnings()
	r.checkObjects(append(slices.Clone(always), set.with...), set.without)
	r.checkConfig(set.configHas, set.configHasNot)
	r.checkServices()
	r.checkNoToken()
	if slices.Contains(r.everything(), "PodDisruptionBudget/"+name) {
		r.checkDrain()
	}
}

// testUnsafePod makes sure that the checks above could fail: a pod that may gain
// privileges is warned of and never made.
func testUnsafePod(t *testing.T, cluster *testcluster.Cluster) {
	r := newRig(t, cluster, "unsafe")
	installing, stop := context.WithCancel(t.Context())
	defer stop()
	installed := make(chan error, 1)
	go func() {
		_, err := r.helm.Install(installing, release, loadChart(t), parse(t, `securityContext: {allowPrivilegeEscalation: null}`))
		installed <- err
	}()
	eventually(t, "the StatefulSet tells that it cannot make its pod", func() error {
		events, err := r.client.CoreV1().Events(r.namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, event := range events.Items {
			if event.InvolvedObject.Kind == "StatefulSet" && strings.Contains(event.Message, "violates PodSecurity") {
				return nil
			}
		}
		return fmt.Errorf("none of %d events says so", len(events.Items))
	})
	stop()
	if err := <-installed; err == nil {
		t.Error("the release is ready, want it to wait for a pod that is never made")
	}
	if got := strings.Join(r.helm.Warnings(), "\n"); !strings.Contains(got, "would violate PodSecurity") {
		t.Errorf("warnings %q, want one of PodSecurity", got)
	}
}

// testUnknownField makes sure that the API server is asked to be strict: without
// that it drops what it does not know, and a misspelt setting has no effect.
func testUnknownField(t *testing.T, cluster *testcluster.Cluster) {
	r := newRig(t, cluster, "unknown-field")
	_, err := r.helm.Install(t.Context(), release, loadChart(t), parse(t, `podSecurityContext: {fsGruop: 10001}`))
	if err == nil || !strings.Contains(err.Error(), "fsGruop") {
		t.Errorf("got %v, want a refusal that names the field", err)
	}
}

func (r *rig) checkObjects(with, without []string) {
	r.Helper()
	have := r.everything()
	for _, want := range with {
		if !slices.Contains(have, want) {
			r.Errorf("%s is missing from %v", want, have)
		}
	}
	for _, not := range without {
		if slices.Contains(have, not) {
			r.Errorf("%s is there, want it not to be", not)
		}
	}
}

func (r *rig) checkConfig(has, hasNot []string) {
	r.Helper()
	got, err := r.client.CoreV1().ConfigMaps(r.namespace).Get(r.Context(), name, metav1.GetOptions{})
	if err != nil {
		r.Fatal(err)
	}
	for _, want := range has {
		if !strings.Contains(got.Data["config.yaml"], want) {
			r.Errorf("the configuration lacks %q:\n%s", want, got.Data["config.yaml"])
		}
	}
	for _, not := range hasNot {
		if strings.Contains(got.Data["config.yaml"], not) {
			r.Errorf("the configuration has %q, want it not to:\n%s", not, got.Data["config.yaml"])
		}
	}
}

// checkServices follows every Service to the pod's port of the same purpose.
func (r *rig) checkServices() {
	r.Helper()
	services, err := r.client.CoreV1().Services(r.namespace).List(r.Context(), metav1.ListOptions{})
	if err != nil {
		r.Fatal(err)
	}
	ports := map[string]int32{"package-repository": 8888, "pnda-package-repository": 8888, "deployment-manager": 5000, "deployment-manager-git": 8099}
	for _, service := range services.Items {
		want, known := ports[service.Name]
		if !known {
			r.Errorf("an unknown Service %s", service.Name)
			continue
		}
		if got := service.Spec.Ports[0].Port; got != want {
			r.Errorf("Service %s has port %d, want %d", service.Name, got, want)
		}
		eventually(r.T, "endpoints of Service "+service.Name, func() error {
			found, err := r.client.DiscoveryV1().EndpointSlices(r.namespace).List(r.Context(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name})
			if err != nil {
				return err
			}
			for _, slice := range found.Items {
				if len(slice.Endpoints) == 1 && *slice.Endpoints[0].Conditions.Ready && len(slice.Ports) == 1 && *slice.Ports[0].Port == want {
					return nil
				}
			}
			return fmt.Errorf("no slice with one ready endpoint on port %d", want)
		})
	}
}

// checkNoToken makes sure that the pod has no way to speak to the API server.
func (r *rig) checkNoToken() {
	r.Helper()
	pod := r.pod()
	if mount := pod.Spec.AutomountServiceAccountToken; mount == nil || *mount {
		r.Error("the pod's automountServiceAccountToken is not false")
	}
	for _, volume := range pod.Spec.Volumes {
		if projected := volume.Projected; projected != nil && slices.ContainsFunc(projected.Sources, func(s corev1.VolumeProjection) bool { return s.ServiceAccountToken != nil }) {
			r.Errorf("volume %s holds a token of the service account", volume.Name)
		}
	}
}

// checkDrain makes sure that a node can be drained.
func (r *rig) checkDrain() {
	r.Helper()
	eventually(r.T, "the disruption budget lets a drain go on", func() error {
		budget, err := r.client.PolicyV1().PodDisruptionBudgets(r.namespace).Get(r.Context(), name, metav1.GetOptions{})
		if err == nil && budget.Status.DisruptionsAllowed != 1 {
			err = fmt.Errorf("its status is %+v", budget.Status)
		}
		return err
	})
}
