package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/node"
)

const (
	user      = "pnda" // whose token the server knows, and whose pod it is
	userPod   = "jupyter-" + user
	userClaim = "claim-" + user
	example   = "flow-report-1.0.0"
)

// shell runs the line in a folder with the example's archive, as a person types
// it. Variables are those that the chart's notes speak of.
func (in *installation) shell(t *testing.T, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, "sh", "-c", line)
	command.Dir = in.examples
	command.Env = append(command.Environ(), "TOKEN="+in.settings.Token)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// status is the answer's code, and the line ends with the answer's body.
const status = `curl -sS -w '\n%{http_code}' `

// expect wants a status. A server that cannot ask the Hub now, which on a busy
// machine takes more than the server's five seconds, is asked again.
func (in *installation) expect(t *testing.T, line, want string) string {
	t.Helper()
	var body, code string
	await(t.Context(), t, line, patience, func() error {
		if body, code, _ = cutLast(in.shell(t, line), "\n"); code == "503" {
			return errors.New(body)
		}
		return nil
	})
	if code != want {
		t.Fatalf("%s: got %s, want %s\n%s", line, code, want, body)
	}
	return body
}

func cutLast(text, separator string) (before, after string, found bool) {
	i := strings.LastIndex(text, separator)
	if i < 0 {
		return "", text, false
	}
	return text[:i], text[i+len(separator):], true
}

// follow pastes the indented lines of what Helm printed into a shell, where a
// person pauses after the port is forwarded.
func (in *installation) follow(t *testing.T) {
	commands := []string{"export CURL_HOME=$PWD"}
	for line := range strings.Lines(in.notes) {
		if strings.HasPrefix(line, "  ") {
			commands = append(commands, strings.TrimSpace(line))
		}
	}
	if len(commands) != 4 {
		t.Fatalf("want three commands in what Helm printed:\n%s", in.notes)
	}
	patient := "fail\nretry = 150\nretry-delay = 1\nretry-connrefused\nretry-max-time = 150\n"
	if err := os.WriteFile(filepath.Join(in.examples, ".curlrc"), []byte(patient), 0o600); err != nil {
		t.Fatal(err)
	}
	// What forwards the port has ended afterwards: the next step wants the same.
	in.shell(t, strings.Join(append(commands, "code=$?", "kill $!", "wait $!", "exit $code"), "\n"))
}

// publish does what follows an upload, as the user, whose token the server knows.
func (in *installation) publish(t *testing.T) {
	stop := in.forward(t, "pnda-package-repository", "8888")
	defer stop()
	in.expect(t, status+"-T "+example+".tar.gz http://127.0.0.1:8888/packages/"+example+".tar.gz", "401")
	listed := in.expect(t, status+"-u pnda:$TOKEN http://127.0.0.1:8888/packages", "200")
	if !strings.Contains(listed, "flow-report") {
		t.Errorf("the list of packages: got %s, want what was uploaded in it", listed)
	}
	stopManager := in.forward(t, "deployment-manager", "5000")
	defer stopManager()
	in.expect(t, status+"-u pnda:$TOKEN -X PUT http://127.0.0.1:5000/packages/"+example, "202")
	await(t.Context(), t, "the package to be deployed", patience, func() error {
		return in.has("packages/"+example+"/status", "DEPLOYED")
	})
	in.expect(t, status+`-u pnda:$TOKEN -X PUT http://127.0.0.1:5000/applications/noon-run -d '{"package": "`+example+`"}'`, "202")
	in.awaitApplication(t, "noon-run")
}

// has asks the manager as the user.
func (in *installation) has(path, want string) error {
	out, err := exec.Command("curl", "-sS", "-m", "60", "-u", user+":"+in.settings.Token, "http://127.0.0.1:5000/"+path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	var answer struct{ Status, Information string }
	if err := json.Unmarshal(out, &answer); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if answer.Status != want {
		return fmt.Errorf("got %s, want %s", out, want)
	}
	return nil
}

func (in *installation) awaitApplication(t *testing.T, name string) {
	t.Helper()
	await(t.Context(), t, "application "+name, patience, func() error { return in.has("applications/"+name+"/status", "CREATED") })
}

// userManifest is a notebook's pod as JupyterHub makes it from the values in
// deploy/jupyterhub, with a small image and without a Jupyter server in it.
var userManifest = template.Must(template.New("pod").Parse(`
{{if .Claim}}apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: {{.Claim}}}
spec: {accessModes: [ReadWriteOnce], storageClassName: "", resources: {requests: {storage: 1Gi}}}
---
{{end}}apiVersion: v1
kind: Pod
metadata: {name: {{.Pod}}, labels: {app: jupyterhub, component: singleuser-server}}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  restartPolicy: OnFailure
  hostAliases: [{ip: {{.Address}}, hostnames: [deployment-manager-git]}]
  securityContext: {fsGroup: 100}
  containers:
  - name: notebook
    image: {{.Image}}
    command: [sleep, "1000000000"]
    env:
    - {name: JUPYTERHUB_USER, value: {{.User}}}
    - {name: JUPYTERHUB_API_TOKEN, value: {{.Token}}}
    - {name: DM_GIT_URL, value: "http://deployment-manager-git:8099"}
    - {name: DM_SYNC_SECONDS, value: "150"}
{{if .Sums}}    - {name: DM_SYNC_SHA256, value: {{.Sums}}}
{{end}}    lifecycle:
      postStart:
        exec: {command: [sh, -c, "if [ -r '/etc/deployment-manager/sync.sh' ]; then sh '/etc/deployment-manager/sync.sh'; fi; exit 0"]}
    securityContext: {runAsUser: 1000, runAsNonRoot: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}
    volumeMounts:
    - {name: home, mountPath: /home/jovyan}
    - {name: deployment-manager-sync, mountPath: /etc/deployment-manager, readOnly: true}
  volumes:
  - {{if .Claim}}{name: home, persistentVolumeClaim: {claimName: {{.Claim}}}}{{else}}{name: home, emptyDir: {}}{{end}}
  - {name: deployment-manager-sync, configMap: {name: deployment-manager-sync, optional: true}}
`))

// start makes a user's pod, and what is particular to it.
func (in *installation) start(t *testing.T, pod, image string, more map[string]string) {
	t.Helper()
	address := in.kubectl(t, "get", "service", "deployment-manager-git", "-o", "jsonpath={.spec.clusterIP}")
	given := map[string]string{"Pod": pod, "Address": address, "Image": image, "User": user, "Token": in.settings.Token}
	maps.Copy(given, more)
	var manifest strings.Builder
	if err := userManifest.Execute(&manifest, given); err != nil {
		t.Fatal(err)
	}
	if err := node.Apply(t.Context(), namespace, manifest.String()); err != nil {
		t.Fatal(err)
	}
}

// otherWays starts a pod whose image has the program, and one that is told to
// run none but one that nobody has.
func (in *installation) otherWays(t *testing.T) {
	in.start(t, "own", ownImage, nil)
	in.start(t, "plain", userImage, map[string]string{"Sums": "none"})
	for pod, want := range map[string]string{"own": "SYNC.md\n", "plain": ".git\n"} {
		in.pod(t, pod, isReady)
		out := in.kubectl(t, "exec", pod, "--", "sh", "-c", "ls -A ~ ~/apps-notebooks && ls -R ~/apps-notebooks")
		if !strings.Contains(out, want) || !strings.Contains(out, "flow-report.ipynb") || strings.Contains(out, ".cache") || pod == "plain" && strings.Contains(out, "SYNC.md") {
			t.Errorf("the home of %s: got %q, want %q and the notebook, and no program in it", pod, out, want)
		}
	}
	in.kubectl(t, "delete", "pod", "own", "plain", "--wait=false")
}

// notebooks starts a user's pod, whose start hook fetches through the Service's
// cluster address, and looks into its folder. The pod gets the program from the
// server, by the sums that the ConfigMap has.
func (in *installation) notebooks(t *testing.T) {
	begun := time.Now()
	in.start(t, userPod, userImage, map[string]string{"Claim": userClaim})
	in.pod(t, userPod, isReady)
	out := in.kubectl(t, "exec", userPod, "--", "sh", "-c", "cd ~/apps-notebooks && ls -R && cat SYNC.md")
	t.Logf("measured: from helm install to the first notebook in the user's pod %.1f s, of which %.1f s from making that pod", time.Since(in.began).Seconds(), time.Since(begun).Seconds())
	if want := "flow-report.ipynb"; !strings.Contains(out, want) {
		t.Errorf("the user's folder: got %q, want %s in it", out, want)
	}
	kept := in.kubectl(t, "exec", userPod, "--", "sh", "-c", "ls ~/.cache/deployment-manager")
	if want := "deployment-manager-sync-" + runtime.GOARCH + "\n"; kept != want {
		t.Errorf("programs in the home: got %q, want %q", kept, want)
	}
	in.tokenStaysOut(t)
	in.record = in.readRecord(t)
}

// tokenStaysOut reads the user's whole volume.
func (in *installation) tokenStaysOut(t *testing.T) {
	t.Helper()
	read := 0
	err := filepath.WalkDir(filepath.Join(node.Folder, "volumes", userClaim), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(in.settings.Token)) {
			t.Errorf("the user's token is in %s", path)
		}
		read++
		return err
	})
	if err != nil || read < 5 {
		t.Errorf("read %d files of the user's volume: %v", read, err)
	}
}

// walkThrough is how PNDA's users upload, word for word but for the package.
func (in *installation) walkThrough(t *testing.T) {
	stop := in.forward(t, "pnda-package-repository", "8888")
	defer stop()
	in.expect(t, status+`-XPUT "http://localhost:8888/packages/flow-report-1.1.0.tar.gz?user.name=pnda" --data-binary "@flow-report-1.1.0.tar.gz"`, "200")
	in.expect(t, status+`"http://localhost:8888/packages/flow-report-1.0.0.tar.gz?user.name=pnda" --upload-file flow-report-1.0.0.tar.gz`, "200")
	listed := in.expect(t, status+`"http://localhost:8888/packages?user.name=pnda"`, "200")
	for _, want := range []string{"flow-report", "1.0.0", "1.1.0"} {
		if !strings.Contains(listed, want) {
			t.Errorf("the list of packages: got %s, want %s in it", listed, want)
		}
	}
	stopManager := in.forward(t, "deployment-manager", "5000")
	defer stopManager()
	in.expect(t, status+`-X PUT "http://localhost:5000/packages/flow-report-1.1.0?user.name=pnda"`, "202")
	await(t.Context(), t, "the package to be deployed", patience, func() error {
		return in.has("packages/flow-report-1.1.0/status", "DEPLOYED")
	})
	in.expect(t, status+`-X PUT "http://localhost:5000/applications/evening-run?user.name=pnda" -d '{"package": "flow-report-1.1.0"}'`, "202")
	in.awaitApplication(t, "evening-run")
}

// readRecord lists every ref of every repository.
func (in *installation) readRecord(t *testing.T) string {
	t.Helper()
	in.pod(t, serverPod, isReady)
	out := in.kubectl(t, "exec", serverPod, "--", "sh", "-c",
		`cd /data && for r in packages/*.git applications/*.git users/*.git; do echo "$r"; git --git-dir "$r" for-each-ref || exit 1; done`)
	for _, want := range []string{"packages/flow-report.git\n", "refs/tags/1.0.0\n", "applications/noon-run.git\n", "refs/observed/head\n", "users/"} {
		if !strings.Contains(out, want) {
			t.Fatalf("the record: got %s, want %q in it", out, want)
		}
	}
	return out
}

func (in *installation) sameRecord(t *testing.T) {
	t.Helper()
	if now := in.readRecord(t); now != in.record {
		t.Errorf("the record: got\n%s\nwant it as before:\n%s", now, in.record)
	}
}
