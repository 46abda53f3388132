package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/node"
)

const (
	hubUser   = "ana"
	hubPod    = "jupyter-" + hubUser
	hubClaim  = "claim-" + hubUser
	hubHome   = "http://" + node.Address + ":8081/hub/api"
	hubSecret = "5e41ce7e57ab4d0c9a11fee1f00d5afe" // of an administrator; see jupyterhub/testdata
)

// hub is the Hub's folder as the machine sees it; it lies among the logs.
func (s settings) hub() string { return filepath.Join(s.Logs(), "hub") }

// hireHub starts a process that keeps the machine's own files, in which Python
// and its libraries are, when this process leaves them. It waits for the word to
// become the Hub.
func hireHub(w node.World) error {
	s, err := settingsOf(w)
	if err != nil {
		return err
	}
	if s.Jupyter == "" {
		return nil
	}
	if err := os.Mkdir(s.hub(), 0o700); err != nil {
		return err
	}
	if err := syscall.Mkfifo(filepath.Join(s.hub(), "word"), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(s.Logs(), "hub.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	command := exec.Command("sh", "-c", `read -r word <word && exec "$0" "$@"`, filepath.Join(s.Jupyter, "bin/python"),
		"-m", "jupyterhub", "-f", filepath.Join(s.Checkout, "deploy/testcluster/e2e/testdata/hub.py"))
	command.Dir, command.Stdout, command.Stderr = s.hub(), log, log
	command.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.hub(), "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1",
		"KUBECONFIG=" + filepath.Join(s.hub(), "kubeconfig"),
		"DM_TEST_RUN=" + s.hub(), "DM_TEST_ENVIRONMENT=" + s.Jupyter, "DM_TEST_NAMESPACE=" + namespace,
		"DM_TEST_KUBERNETES=" + filepath.Join(s.Checkout, "deploy/testcluster/jupyterhub/testdata/hub_kubernetes.py"),
		"DM_TEST_FILE=" + filepath.Join(s.Checkout, "deploy/jupyterhub/values.yaml"),
		// Its pods have the program by an init container.
		"DM_SYNC_IMAGE=" + imageName + ":" + node.ServerTag,
		// What follows is replaced by hub.py, but for the proxy's.
		"DM_TEST_PORT=8000", "DM_TEST_HUB_PORT=8081", "DM_TEST_PROXY_PORT=8001",
	}
	// Its mounts are a copy of this process's, which change then.
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	return command.Start()
}

// startHub gives the word, with what the Hub has to know.
func (in *installation) startHub(t *testing.T) {
	t.Helper()
	if err := node.Apply(t.Context(), namespace, hubRights); err != nil {
		t.Fatal(err)
	}
	file, err := in.cluster.KubeconfigFor("hub")
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(file)
	if err == nil {
		err = clientcmdapi.FlattenConfig(config) // the Hub does not see the node's files
	}
	if err != nil {
		t.Fatal(err)
	}
	git := in.kubectl(t, "get", "service", "deployment-manager-git", "-o", "jsonpath={.spec.clusterIP}")
	told, err := json.Marshal(map[string]string{"address": node.Address, "image": userImage, "git": git})
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(node.Folder, "logs/hub")
	if err := errors.Join(
		clientcmd.WriteToFile(*config, filepath.Join(folder, "kubeconfig")),
		os.WriteFile(filepath.Join(folder, "told.json"), told, 0o600),
		os.WriteFile(filepath.Join(folder, "word"), []byte("begin\n"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	await(t.Context(), t, "the Hub", patience, func() error {
		_, err := askHub("GET", "/users", "")
		return err
	})
}

// hubRights are what the Hub's chart gives the Hub.
const hubRights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: hub}
rules:
- {apiGroups: [""], resources: [pods, persistentvolumeclaims], verbs: [get, watch, list, create, delete]}
- {apiGroups: [""], resources: [events], verbs: [get, watch, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: hub}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: hub}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: hub}]
`

// askHub asks as the Hub's administrator.
func askHub(method, path, body string) ([]byte, error) {
	out, err := exec.Command("curl", "-sS", "--fail-with-body", "-m", "60", "-X", method, "-H", "Authorization: token "+hubSecret, "-d", body, hubHome+path).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", method, path, err, out)
	}
	return out, nil
}

// spawn has JupyterHub make a user's pod, as in production: KubeSpawner from our
// values, the token that the Hub gives the pod, and our server asking the Hub.
func (in *installation) spawn(t *testing.T) {
	if in.settings.Jupyter == "" {
		unableOrSkip(t, errors.New(in.settings.NoJupyter))
	}
	in.startHub(t)
	if _, err := askHub("POST", "/users/"+hubUser, ""); err != nil {
		t.Fatal(err)
	}
	answer, err := askHub("POST", "/users/"+hubUser+"/tokens", `{"scopes": ["access:services!service=deployment-manager"]}`)
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ Token string }
	if err := json.Unmarshal(answer, &made); err != nil {
		t.Fatal(err)
	}
	stop := in.forward(t, "deployment-manager", "5000")
	defer stop()
	in.expect(t, status+"-u "+hubUser+":"+made.Token+` -X PUT http://127.0.0.1:5000/applications/hub-run -d '{"package": "`+example+`"}'`, "202")
	in.awaitApplication(t, "hub-run")

	begun := time.Now()
	if _, err := askHub("POST", "/users/"+hubUser+"/server", ""); err != nil {
		t.Fatal(err)
	}
	await(t.Context(), t, "the Hub to find the user's server ready", patience, func() error {
		answer, err := askHub("GET", "/users/"+hubUser, "")
		if err != nil {
			return err
		}
		var user struct {
			Servers map[string]struct{ Ready bool }
		}
		if err := json.Unmarshal(answer, &user); err != nil {
			return err
		}
		if !user.Servers[""].Ready {
			return fmt.Errorf("it is not: %s", answer)
		}
		return nil
	})
	out := in.kubectl(t, "exec", hubPod, "--", "sh", "-c", "cd ~/apps-notebooks && ls -R && cat SYNC.md")
	t.Logf("measured: from the Hub's order to a server with notebooks %.1f s", time.Since(begun).Seconds())
	for _, want := range []string{"hub-run", "flow-report.ipynb"} {
		if !strings.Contains(out, want) {
			t.Errorf("the user's folder: got %q, want %s in it", out, want)
		}
	}
	found := in.kubectl(t, "exec", hubPod, "--", "sh", "-c", "ls /opt/deployment-manager && ls -A ~")
	if !strings.HasPrefix(found, "deployment-manager-sync-amd64\ndeployment-manager-sync-arm64\n") || strings.Contains(found, ".cache") {
		t.Errorf("programs by the init container, and the home: got %q", found)
	}
	in.othersStayOut(t)
	in.record = in.readRecord(t)
}

// othersStayOut asks with one pod's token for another user's notebooks, of which
// the server does not even tell that they are there.
func (in *installation) othersStayOut(t *testing.T) {
	t.Helper()
	pod := in.pod(t, hubPod, isReady)
	stop := in.forward(t, "deployment-manager-git", "8099")
	defer stop()
	token := variable(pod, "JUPYTERHUB_API_TOKEN")
	for of, want := range map[string]string{hubUser: "200", user: "404"} {
		in.expect(t, status+"-u "+hubUser+":"+token+" 'http://127.0.0.1:8099/jupyter-"+of+"/info/refs?service=git-upload-pack' -o /dev/null", want)
	}
}

func variable(pod *corev1.Pod, name string) string {
	for _, v := range pod.Spec.Containers[0].Env {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}
