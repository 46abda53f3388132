package chart_test

import (
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pndaproject/deployment-manager/deploy/testcluster"
)

// testPassword follows the password that the chart made for admin:
// it stays while people are added, goes when somebody else is to choose it, and
// is made anew where there is none.
func testPassword(t *testing.T, cluster *testcluster.Cluster) {
	r := newRig(t, cluster, "password")
	if _, err := r.helm.Install(t.Context(), release, loadChart(t), nil); err != nil {
		t.Fatal(err)
	}
	secrets := r.client.CoreV1().Secrets(r.namespace)
	upgraded := func(values string) *corev1.Secret {
		t.Helper()
		if _, err := r.helm.Upgrade(t.Context(), release, loadChart(t), parse(t, values)); err != nil {
			t.Fatal(err)
		}
		secret, err := secrets.Get(t.Context(), name+"-auth", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
	first := upgraded(``)
	password := string(first.Data["password"])

	added := upgraded(`auth: {users: {ana: "` + someHash + `"}, tokens: "{}"}`)
	if got, want := string(added.Data["htpasswd"]), string(first.Data["htpasswd"])+"ana:"+someHash+"\n"; got != want {
		t.Errorf("with a user more, htpasswd is\n%s\nwant\n%s", got, want)
	}
	if got := string(added.Data["password"]); got != password || password == "" {
		t.Errorf("with a user more, the password is %q, want %q as before", got, password)
	}

	chosen := upgraded(`auth: {users: {admin: "` + someHash + `"}}`)
	if _, has := chosen.Data["password"]; has || string(chosen.Data["htpasswd"]) != "admin:"+someHash+"\n" {
		t.Errorf("with a chosen hash for admin, the Secret is %q", chosen.Data)
	}

	r.fits(upgraded(``), password)

	if err := secrets.Delete(t.Context(), name+"-auth", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.fits(upgraded(``), password)
	r.noWarnings()
}

// fits makes sure that the Secret has a new password, and its hash.
func (r *rig) fits(secret *corev1.Secret, old string) {
	r.Helper()
	password := secret.Data["password"]
	if len(password) == 0 || string(password) == old {
		r.Errorf("the password is %q, want a new one", password)
	}
	hash, _ := strings.CutPrefix(strings.TrimSpace(string(secret.Data["htpasswd"])), "admin:")
	if err := bcrypt.CompareHashAndPassword([]byte(hash), password); err != nil {
		r.Errorf("the password does not fit its hash: %v", err)
	}
}
