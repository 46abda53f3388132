package jupyterhub

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// spark gives the folder with pyspark and Java, and builds it if need be.
func spark(t *testing.T, env string) string {
	t.Helper()
	cmd := exec.Command("environment/spark.sh", env)
	cmd.Stderr = os.Stderr // tells what takes long
	folder, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(folder))
}

// TestNotebooksOfTheWalkThrough takes the archive that "make examples" writes the
// whole way: upload, deploy, create, the start hook; and runs the two notebooks
// that then lie in the user's home, with a real Spark.
func TestNotebooksOfTheWalkThrough(t *testing.T) {
	t.Parallel()
	env := environment(t)
	sparkFolder := spark(t, env)
	const id, batches, links = "sparkstreaming-notebook-example-0.1.0", 4, 3
	s := &site{folder: t.TempDir()}
	s.server, s.git, s.manager, s.packages = newServer(t, s.folder, "http://127.0.0.1:1/hub/api")
	token := apiToken(t, s.folder, "pnda")
	bearer := "Bearer " + token
	s.server.start(t)
	t.Cleanup(func() {
		s.server.stop(t)
		if err := endAll(s.folder); err != nil { // Spark's Java, if it was left behind
			t.Error(err)
		}
	})

	write := exec.Command("go", "run", "./deploy/examples/write", s.folder)
	write.Dir = root
	if out, err := write.CombinedOutput(); err != nil {
		t.Fatalf("write the archives: %v\n%s", err, out)
	}
	archive, err := os.ReadFile(filepath.Join(s.folder, id+".tgz"))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		address, body string
		want          int
		awaits, state string
	}{
		{s.packages + "/packages/" + id + ".tgz", string(archive), http.StatusOK, "", ""},
		{s.manager + "/packages/" + id, "", http.StatusAccepted, "/packages/" + id + "/status", "DEPLOYED"},
		{s.manager + "/applications/app1", fmt.Sprintf(`{"package": %q, "jupyter": {"openmetrics": {"batches": %d, "pause": 0.1, "rounds": 1}}}`, id, batches),
			http.StatusAccepted, "/applications/app1/status", "CREATED"},
	} {
		if status, answer := call(t, "PUT", step.address, bearer, step.body); status != step.want {
			t.Fatalf("PUT %s: %d %s", step.address, status, answer)
		}
		if step.awaits != "" {
			s.await(t, step.awaits, bearer, step.state)
		}
	}

	home := filepath.Join(s.folder, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	// Nothing names the program, so plain git brings them.
	hook := exec.Command("sh", absolute(t, syncScript))
	hook.Env = append(bareEnvironment(home), "JUPYTERHUB_USER=pnda", "JUPYTERHUB_API_TOKEN="+token, "DM_GIT_URL="+s.git)
	if out, err := hook.CombinedOutput(); err != nil {
		t.Fatalf("the start hook: %v\n%s", err, out)
	}
	app := filepath.Join(home, "apps-notebooks", "app1")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, filepath.Join(env, "bin/python"), absolute(t, "testdata/notebooks.py"), "openmetrics-producer.ipynb", "parse-openmetrics-streaming.ipynb")
	run.Dir = app
	run.Env = append(bareEnvironment(home), "PYTHONPATH="+sparkFolder, "JAVA_HOME="+filepath.Join(sparkFolder, "java"), "SPARK_LOCAL_IP=127.0.0.1")
	run.WaitDelay = time.Second
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("run the notebooks: %v\n%s", err, out)
	}
	text := string(out)
	for _, want := range []string{
		fmt.Sprintf("%d files written to openmetrics-stream", batches),
		fmt.Sprintf("link_bits_per_second %d\n", batches*links), fmt.Sprintf("link_errors_total %d\n", batches*links),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the notebooks do not show %q:\n%s", want, text)
		}
	}
	for _, link := range []string{"core-1", "core-2", "edge-7"} {
		want := averageOf(t, filepath.Join(app, "openmetrics-stream"), link, batches)
		shown := regexp.MustCompile(`(?m)^\|link_bits_per_second\|` + link + `\s*\|` + strconv.Itoa(batches) + `\s*\|(\S+)\s*\|`).FindStringSubmatch(text)
		if shown == nil {
			t.Errorf("the stream has no row of %s:\n%s", link, text)
			continue
		}
		if got, err := strconv.ParseFloat(shown[1], 64); err != nil || got < want-1 || got > want+1 {
			t.Errorf("the average of %s is %s, want %.1f", link, shown[1], want)
		}
	}
}

// averageOf reads what the producer wrote, in another way than the notebook.
func averageOf(t *testing.T, folder, link string, samples int) float64 {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil || len(files) != samples {
		t.Fatalf("%d files, %v, want %d", len(files), err, samples)
	}
	sum := 0.0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(string(text), "\n# EOF\n") {
			t.Errorf("%s has no end", file)
		}
		_, rest, _ := strings.Cut(string(text), `link_bits_per_second{link="`+link+`"} `)
		value, _, _ := strings.Cut(rest, " ")
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		sum += number
	}
	return sum / float64(samples)
}
