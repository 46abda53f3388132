package chart_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pndaproject/deployment-manager/deploy/testcluster"
)

// testLife takes one release through what a team does with it over the years.
// The steps build on one another.
func testLife(t *testing.T, cluster *testcluster.Cluster) {
	l := &life{rig: newRig(t, cluster, "life")}
	l.before = l.everything()
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"install", l.install},
		{"upgrade of the chart alone", l.upgradeChart},
		{"upgrade of values and server", l.upgradeServer},
		{"roll back", l.rollBack},
		{"bigger claim", l.growClaim},
		{"roll back to a smaller claim", l.shrinkClaim},
		{"persistence off and on", l.switchPersistence},
		{"uninstall", l.uninstall},
		{"install again under another name", l.installOther},
		{"install again", l.installAgain},
	} {
		if !t.Run(step.name, func(t *testing.T) { l.T = t; step.do() }) {
			break
		}
	}
	l.T = t
	l.noWarnings()
}

type life struct {
	*rig
	before   []string // what the namespace had before the release
	claimUID types.UID
	password string
	first    *corev1.Pod
}

// version is the chart as another version of it and of the server.
func version(t *testing.T, chart, app string) *chartv2.Chart {
	t.Helper()
	loaded := loadChart(t)
	loaded.Metadata.Version, loaded.Metadata.AppVersion = chart, app
	return loaded
}

func (l *life) install() {
	if _, err := l.helm.Install(l.Context(), release, version(l.T, "1.0.0", "1.0.0"), nil); err != nil {
		l.Fatal(err)
	}
	l.first, l.claimUID, l.password = l.pod(), l.claim().UID, l.secret()
	if l.password == "" {
		l.Error("there is no password for the first user")
	}
	if got, want := l.first.Spec.Containers[0].Image, "pnda/deployment-manager:1.0.0"; got != want {
		l.Errorf("the image is %s, want %s", got, want)
	}
}

// upgradeChart brings another chart around the same server, which is no reason
// to restart it.
func (l *life) upgradeChart() {
	selector := l.statefulSet().Spec.Selector
	if _, err := l.helm.Upgrade(l.Context(), release, version(l.T, "1.1.0", "1.1.0"), parse(l.T, `image: {tag: 1.0.0}`)); err != nil {
		l.Fatal(err)
	}
	set := l.statefulSet()
	if got, want := set.Labels["helm.sh/chart"], "deployment-manager-1.1.0"; got != want {
		l.Errorf("the StatefulSet is labelled as chart %s, want %s", got, want)
	}
	if got, want := set.Spec.Selector.String(), selector.String(); got != want {
		l.Errorf("the selector is %s, want %s as before", got, want)
	}
	if got := l.pod().UID; got != l.first.UID {
		l.Error("the pod was replaced, want it to go on: only the chart is another")
	}
	l.same()
}

func (l *life) upgradeServer() {
	l.rolls("pnda/deployment-manager:2.0.0", func() error {
		_, err := l.helm.Upgrade(l.Context(), release, version(l.T, "2.0.0", "2.0.0"), parse(l.T, `{auth: {mode: public-read}, config: {log: {level: debug}}}`))
		return err
	})
	l.checkConfig([]string{"auth: public-read", "level: debug"}, nil)
	l.checkServices()
	l.same()
}

func (l *life) rollBack() {
	l.rolls("pnda/deployment-manager:1.0.0", func() error { return l.helm.Rollback(l.Context(), release, 1) })
	l.checkConfig([]string{"auth: strict"}, []string{"level: debug"})
	l.same()
}

func (l *life) growClaim() {
	if _, err := l.helm.Upgrade(l.Context(), release, version(l.T, "2.0.0", "1.0.0"), parse(l.T, `persistence: {size: 20Gi}`)); err != nil {
		l.Fatal(err)
	}
	want := resource.MustParse("20Gi")
	eventually(l.T, "the claim has 20 GiB", func() error {
		if got := l.claim().Status.Capacity[corev1.ResourceStorage]; got.Cmp(want) != 0 {
			return fmt.Errorf("it has %s", got.String())
		}
		return nil
	})
	l.same()
}

// shrinkClaim shows what Kubernetes never does, and that the way out works: an
// upgrade with the old values and the new size.
func (l *life) shrinkClaim() {
	err := l.helm.Rollback(l.Context(), release, 1)
	if err == nil || !strings.Contains(err.Error(), "spec.resources.requests.storage") {
		l.Errorf("rolling back to a smaller claim: got %v, want a refusal that names the size", err)
	}
	if _, err := l.helm.Upgrade(l.Context(), release, version(l.T, "2.0.0", "1.0.0"), parse(l.T, `persistence: {size: 20Gi}`)); err != nil {
		l.Fatal(err)
	}
	l.same()
}

// switchPersistence makes sure that a value set by mistake loses nothing.
func (l *life) switchPersistence() {
	chart := version(l.T, "2.0.0", "1.0.0")
	if _, err := l.helm.Upgrade(l.Context(), release, chart, parse(l.T, `persistence: {enabled: false}`)); err != nil {
		l.Fatal(err)
	}
	if got := l.claim().UID; got != l.claimUID {
		l.Errorf("without persistence the claim is %s, want %s as before", got, l.claimUID)
	}
	if _, err := l.helm.Upgrade(l.Context(), release, chart, parse(l.T, `persistence: {size: 20Gi}`)); err != nil {
		l.Fatal(err)
	}
	l.same()
}

func (l *life) uninstall() {
	if err := l.helm.Uninstall(l.Context(), release); err != nil {
		l.Fatal(err)
	}
	want := slices.Sorted(slices.Values(append(slices.Clone(l.before), "PersistentVolumeClaim/"+name)))
	eventually(l.T, "only the claim is left", func() error {
		if got := l.everything(); !slices.Equal(got, want) {
			return fmt.Errorf("left are %v, want %v", got, want)
		}
		return nil
	})
	if claim := l.claim(); claim.UID != l.claimUID || claim.Status.Phase != corev1.ClaimBound {
		l.Errorf("the claim is %s and %s, want the one of before, bound", claim.UID, claim.Status.Phase)
	}
}

// installOther is refused, and nothing is left of it: what is in the claim may
// not be what this release is for.
func (l *life) installOther() {
	const other = "other"
	_, err := l.helm.Install(l.Context(), other, loadChart(l.T), parse(l.T, `persistence: {size: 20Gi}`))
	if err == nil || !strings.Contains(err.Error(), `PersistentVolumeClaim "deployment-manager"`) {
		l.Fatalf("got %v, want a refusal that names the claim", err)
	}
	if _, err := l.helm.Install(l.Context(), other, loadChart(l.T), parse(l.T, `persistence: {existingClaim: deployment-manager}`)); err != nil {
		l.Fatal(err)
	}
	l.mounts()
	if err := l.helm.Uninstall(l.Context(), other); err != nil {
		l.Fatal(err)
	}
}

func (l *life) installAgain() {
	if _, err := l.helm.Install(l.Context(), release, loadChart(l.T), parse(l.T, `persistence: {size: 20Gi}`)); err != nil {
		l.Fatal(err)
	}
	if got := l.claim(); got.UID != l.claimUID {
		l.Errorf("the claim is %s, want %s as before", got.UID, l.claimUID)
	}
	l.mounts()
}

// rolls makes sure that the pod is another afterwards, with the image, and that
// the release was not called ready before it was.
func (l *life) rolls(image string, do func() error) {
	l.Helper()
	before := l.pod()
	if err := do(); err != nil {
		l.Fatal(err)
	}
	after, set := l.pod(), l.statefulSet()
	if after.UID == before.UID {
		l.Error("the pod is the one of before, want it to be replaced")
	}
	if got := after.Spec.Containers[0].Image; got != image {
		l.Errorf("the pod's image is %s, want %s", got, image)
	}
	if set.Status.CurrentRevision != set.Status.UpdateRevision || set.Status.ReadyReplicas != 1 {
		l.Errorf("the StatefulSet's status is %+v, want it to be rolled out", set.Status)
	}
	if maps.Equal(before.Annotations, after.Annotations) {
		l.Error("the pod's annotations are those of before, want another checksum of the configuration")
	}
}

// same makes sure that what must outlive every change did.
func (l *life) same() {
	l.Helper()
	if got := l.claim().UID; got != l.claimUID {
		l.Errorf("the claim is %s, want %s as before", got, l.claimUID)
	}
	if got := l.secret(); got != l.password {
		l.Error("the password is another than before")
	}
	l.mounts()
}

// mounts makes sure that the pod has the claim.
func (l *life) mounts() {
	l.Helper()
	for _, volume := range l.pod().Spec.Volumes {
		if volume.PersistentVolumeClaim != nil && volume.PersistentVolumeClaim.ClaimName == name {
			return
		}
	}
	l.Error("the pod does not have the claim")
}

func (l *life) secret() string {
	l.Helper()
	secret, err := l.client.CoreV1().Secrets(l.namespace).Get(l.Context(), name+"-auth", metav1.GetOptions{})
	if err != nil {
		l.Fatal(err)
	}
	return string(secret.Data["password"])
}
