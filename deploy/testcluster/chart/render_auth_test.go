package chart_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// someHash is a hash of bcrypt's form; nothing is checked against it.
const someHash = "$2y$05$abcdefghijklmnopqrstuuWl1dPmVwQhcOQ1f.BnbCVm8aBTnO7Vq"

// decoded is one key of a Secret.
func decoded(t *testing.T, secret *unstructured.Unstructured, key string) string {
	t.Helper()
	text, _ := at(t, secret, "data."+key).(string)
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return string(plain)
}

// Out of the box a person can sign in as admin, and only with the password that
// the Secret tells.
func TestPassword(t *testing.T) {
	t.Parallel()
	made, _ := rendered(t, `auth: {users: {ana: "`+someHash+`"}}`)
	secret := made["Secret/deployment-manager-auth"]
	password := decoded(t, secret, "password")
	if len(password) < 20 {
		t.Fatalf("the password has %d characters, want at least 20", len(password))
	}
	lines := strings.Split(decoded(t, secret, "htpasswd"), "\n")
	hash, ok := strings.CutPrefix(lines[0], "admin:")
	if !ok || bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil {
		t.Errorf("the password does not fit the line %q", lines[0])
	}
	if want := []string{"ana:" + someHash, ""}; !slices.Equal(lines[1:], want) {
		t.Errorf("the lines after admin's are %q, want %q", lines[1:], want)
	}

	again, _ := rendered(t, ``)
	if decoded(t, again["Secret/deployment-manager-auth"], "password") == password {
		t.Error("two installations have one password")
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, values string
		keys         []string // of the chart's Secret; nil means that it makes none
		mounted      any      // the Secret that the pod mounts
	}{
		{"default", ``, []string{"htpasswd", "password", "tokens"}, "deployment-manager-auth"},
		{"a chosen admin", `auth: {users: {admin: "` + someHash + `"}}`, []string{"htpasswd", "tokens"}, "deployment-manager-auth"},
		{"public-read", `auth: {mode: public-read}`, []string{"htpasswd", "password", "tokens"}, "deployment-manager-auth"},
		{"one's own", `auth: {existingSecret: mine}`, nil, "mine"},
		{"insecure", `auth: {mode: insecure-pnda, insecureAnywhere: true}`, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			made, _ := rendered(t, c.values)
			var keys []string
			if secret := made["Secret/deployment-manager-auth"]; secret != nil {
				for key := range secret.Object["data"].(map[string]any) {
					keys = append(keys, key)
				}
				slices.Sort(keys)
			}
			if !slices.Equal(keys, c.keys) {
				t.Errorf("the Secret's keys are %v, want %v", keys, c.keys)
			}
			set := made["StatefulSet/"+name]
			if got := at(t, set, "spec.template.spec.volumes.2.secret.secretName"); got != c.mounted {
				t.Errorf("the pod mounts %v, want %v", got, c.mounted)
			}
			if items, _ := at(t, set, "spec.template.spec.volumes.2.secret.items").([]any); c.mounted != nil && len(items) != 2 {
				t.Errorf("the pod mounts the keys %v, want htpasswd and tokens only", items)
			}
		})
	}
}

// The notes must be right for the very values: each line that begins with two
// spaces is a command.
func TestNotesCommands(t *testing.T) {
	t.Parallel()
	const (
		password = `PASSWORD=$(kubectl -n default get secret deployment-manager-auth -o jsonpath='{.data.password}' | base64 -d)`
		forward  = `kubectl -n default port-forward service/package-repository 8888:8888 &`
		file     = `-T flow-report-1.0.0.tar.gz `
		path     = `/packages/flow-report-1.0.0.tar.gz`
	)
	for _, c := range []struct {
		name, values string
		commands     []string
		says         string
		saysNot      string
	}{
		{"default", ``, []string{password, forward, `curl -u "admin:$PASSWORD" ` + file + `'http://127.0.0.1:8888` + path + `'`}, "kubectl -n default rollout status statefulset/deployment-manager", "WARNING"},
		{
			"insecure", `auth: {mode: insecure-pnda, insecureAnywhere: true}`,
			[]string{forward, `curl ` + file + `'http://127.0.0.1:8888` + path + `?user.name=ana'`}, "WARNING: auth.mode is insecure-pnda", "PASSWORD",
		},
		{
			"one's own Secret and TLS", `{auth: {existingSecret: mine}, tls: {secretName: cert}}`,
			[]string{strings.Replace(password, "deployment-manager-auth", "mine", 1), forward, `curl -k -u "admin:$PASSWORD" ` + file + `'https://127.0.0.1:8888` + path + `'`},
			"if your Secret mine has a key password", "",
		},
		{
			"an Ingress and a chosen admin", `{auth: {users: {admin: "` + someHash + `"}}, ingress: {enabled: true, hosts: {packages: p.example.org}, tlsSecretName: web}}`,
			[]string{`curl -u admin ` + file + `'https://p.example.org` + path + `'`}, "Name the namespace of your Ingress' proxy in networkPolicy.ingress.from", "PASSWORD",
		},
		{
			"another port and no volume", `{services: {packages: {name: archives, port: 80}}, persistence: {enabled: false}}`,
			[]string{password, `kubectl -n default port-forward service/archives 8888:80 &`, `curl -u "admin:$PASSWORD" ` + file + `'http://127.0.0.1:8888` + path + `'`},
			"it is LOST with the pod", "",
		},
		{
			"a Service outside the policy", `services: {packages: {type: NodePort}}`,
			[]string{password, forward, `curl -u "admin:$PASSWORD" ` + file + `'http://127.0.0.1:8888` + path + `'`},
			"so the NodePort package-repository is of no use yet", "JupyterHub",
		},
		{
			"JupyterHub and admins", `{jupyterhub: {url: "http://hub:8081/hub/api"}, auth: {groups: {admin: [ana, ben]}}}`,
			[]string{password, forward, `curl -u "admin:$PASSWORD" ` + file + `'http://127.0.0.1:8888` + path + `'`},
			"whoever JupyterHub calls ana, ben is an admin here", "of no use",
		},
		{
			"JupyterHub and the admin of the chart", `{jupyterhub: {url: "http://hub:8081/hub/api"}}`,
			[]string{password, forward, `curl -u "admin:$PASSWORD" ` + file + `'http://127.0.0.1:8888` + path + `'`},
			"kubectl -n default rollout status statefulset/deployment-manager", "is an admin here",
		},
		{
			"JupyterHub and admins, one of them kept", `{jupyterhub: {url: "http://hub:8081/hub/api", reserved: [ana]}, auth: {groups: {admin: [ana, ben]}}}`,
			[]string{password, forward, `curl -u "admin:$PASSWORD" ` + file + `'http://127.0.0.1:8888` + path + `'`},
			"whoever JupyterHub calls ben is an admin here", "of no use",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, notes := rendered(t, c.values)
			var commands []string
			for line := range strings.SplitSeq(notes, "\n") {
				if command, ok := strings.CutPrefix(line, "  "); ok {
					commands = append(commands, command)
				}
			}
			if !slices.Equal(commands, c.commands) {
				t.Errorf("the commands are\n%s\nwant\n%s", strings.Join(commands, "\n"), strings.Join(c.commands, "\n"))
			}
			if !strings.Contains(notes, c.says) {
				t.Errorf("the notes lack %q:\n%s", c.says, notes)
			}
			if c.saysNot != "" && strings.Contains(notes, c.saysNot) {
				t.Errorf("the notes say %q:\n%s", c.saysNot, notes)
			}
		})
	}
}
