package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pndaproject/deployment-manager/deploy/examples"
)

// walk plays the walk-through of PNDA's users against a running server. It
// uses nothing but what users have: the REST interfaces and the git client.
type walk struct {
	out                    io.Writer
	environ                []string
	folder                 string // where the git client works
	packages, manager, git string // base addresses
	client                 *http.Client
	number                 int // of the step
}

// The cast of the walk-through.
const (
	demoAuthor = "ana"  // uploads and deploys
	demoUser   = "pnda" // creates the application and gets the notebooks
	demoLate   = "bo"   // comes late
	demoGroup  = "class-7"
	demoApp    = "noon-run"
	demoName   = "flow-report"
	demoOld    = demoName + "-1.0.0"
	demoNew    = demoName + "-1.1.0"
)

func newWalk(p process, folder string, d doors) *walk {
	return &walk{
		out: p.stdout, environ: gitEnvironment(p.environ, folder), folder: folder,
		packages: "http://" + d.packages.Addr().String(),
		manager:  "http://" + d.manager.Addr().String(),
		git:      "http://" + d.git.Addr().String(),
		client:   &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}, // no proxy: it is this machine
	}
}

// gitEnvironment is the caller's without their git settings, so that the demo
// shows the same on every machine and leaves nothing behind.
func gitEnvironment(environ []string, home string) []string {
	kept := slices.DeleteFunc(slices.Clone(environ), func(pair string) bool {
		return strings.HasPrefix(pair, "GIT_") || strings.HasPrefix(pair, "HOME=") || strings.HasPrefix(pair, "XDG_")
	})
	return append(kept, "HOME="+home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull,
		"GIT_AUTHOR_NAME=a laptop", "GIT_AUTHOR_EMAIL=me@laptop", "GIT_COMMITTER_NAME=a laptop", "GIT_COMMITTER_EMAIL=me@laptop",
		"GIT_TERMINAL_PROMPT=0", "NO_PROXY=*", "no_proxy=*", "TZ=UTC", "LC_ALL=C")
}

func (w *walk) play(ctx context.Context) error {
	fmt.Fprintf(w.out, "A server runs: packages on %s, deployment manager on %s, git on %s.\n\n", w.packages, w.manager, w.git)
	for _, step := range []struct {
		title string
		do    func(context.Context) error
	}{
		{"Ana uploads a package", func(ctx context.Context) error { return w.upload(ctx, demoOld) }},
		{"It is listed", w.list},
		{"Ana deploys it", func(ctx context.Context) error { return w.deploy(ctx, demoOld) }},
		{"Pnda creates an application from it", w.create},
		{"Pnda clones the notebooks", w.clone},
		{"Ana publishes a new version from her own repository with git push", w.publish},
		{"A push of what no package may hold is refused, with all findings", w.refusal},
		{"Pnda changes the application with git push, and watches its progress", w.push},
		{"Pnda pulls the notebooks", w.pull},
		{"What Pnda has now", w.tree},
		{"Pnda rolls back to the first deployment", w.rollback},
		{"Pnda gives it to a class of three; two of them have it", w.class},
		{"Bo comes late, and gets what is in effect and nothing before it", w.late},
		{"What was, when and why", w.past},
		{"Who did what, and when", w.history},
	} {
		w.number++
		fmt.Fprintf(w.out, "%d. %s\n\n", w.number, step.title)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("step %d: %w", w.number, err)
		}
	}
	return nil
}

func (w *walk) upload(ctx context.Context, id string) error {
	data, err := examples.Archive(id)
	if err != nil {
		return err
	}
	_, err = w.send(ctx, request{http.MethodPut, w.packages + "/packages/" + id + ".tar.gz?user.name=" + demoAuthor, string(data), id + ".tar.gz"}, http.StatusOK)
	return err
}

func (w *walk) list(ctx context.Context) error {
	answer, err := w.send(ctx, request{method: http.MethodGet, url: w.packages + "/packages?user.name=" + demoAuthor}, http.StatusOK)
	return expect(err, answer, `"file":"`+demoOld+`.tar.gz"`)
}

func (w *walk) deploy(ctx context.Context, id string) error {
	if _, err := w.send(ctx, request{method: http.MethodPut, url: w.manager + "/packages/" + id + "?user.name=" + demoAuthor}, http.StatusAccepted); err != nil {
		return err
	}
	return w.await(ctx, w.manager+"/packages/"+id+"/status", `"status":"DEPLOYED"`)
}

func (w *walk) create(ctx context.Context) error {
	body := `{"package": "` + demoOld + `", "jupyter": {"report": {"topic": "noon-flows"}}}`
	url := w.manager + "/applications/" + demoApp
	if _, err := w.send(ctx, request{method: http.MethodPut, url: url + "?user.name=" + demoUser, body: body}, http.StatusAccepted); err != nil {
		return err
	}
	return w.await(ctx, url+"/status", `"status":"CREATED"`)
}

func (w *walk) clone(ctx context.Context) error {
	if _, err := w.typed(ctx, "clone", w.git+"/jupyter-"+demoUser); err != nil {
		return err
	}
	return w.filled(ctx)
}

func (w *walk) pull(ctx context.Context) error {
	_, err := w.typed(ctx, "-C", "jupyter-"+demoUser, "pull", "--stat")
	return err
}

// tree prints the clone as a person sees it and checks that the application's
// folder holds a notebook.
func (w *walk) tree(context.Context) error {
	clone := filepath.Join(w.folder, "jupyter-"+demoUser)
	fmt.Fprintf(w.out, "jupyter-%s/\n", demoUser)
	notebook := false
	err := fs.WalkDir(os.DirFS(clone), ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || path == ".":
			return err
		case path == ".git":
			return fs.SkipDir
		}
		notebook = notebook || strings.HasPrefix(path, demoApp+"/") && strings.HasSuffix(path, ".ipynb")
		slash := ""
		if entry.IsDir() {
			slash = "/"
		}
		fmt.Fprintf(w.out, "%s%s%s\n", strings.Repeat("    ", 1+strings.Count(path, "/")), entry.Name(), slash)
		return nil
	})
	fmt.Fprintln(w.out)
	if err == nil && !notebook {
		err = fmt.Errorf("the clone has no notebook of %s", demoApp)
	}
	return err
}

// filled checks that the override reached the notebooks and shows the place.
func (w *walk) filled(ctx context.Context) error {
	answer, err := w.typed(ctx, "-C", "jupyter-"+demoUser, "grep", "-n", "noon-flows")
	return expect(err, answer, demoApp+"/")
}

func (w *walk) history(ctx context.Context) error {
	for _, of := range []struct {
		address, folder string
		people          []string
	}{
		{w.git + "/packages/" + demoName + ".git", demoName, []string{demoAuthor}},
		{w.git + "/applications/" + demoApp + ".git", demoApp, []string{demoUser}},
		{w.git + "/jupyter-" + demoUser, "jupyter-" + demoUser, []string{demoUser}},
	} {
		get := []string{"clone", "-q", of.address}
		if _, err := os.Stat(filepath.Join(w.folder, of.folder)); err == nil {
			get = []string{"-C", of.folder, "pull", "-q"}
		}
		if _, err := w.typed(ctx, get...); err != nil {
			return err
		}
		answer, err := w.typed(ctx, "-C", of.folder, "log", "--first-parent", "--date=iso", "--format=%h  %ad  %an: %s")
		if err := expect(err, answer, of.people...); err != nil {
			return err
		}
	}
	return nil
}

// request is one call of a REST interface. file is the name that the body has
// in the printed line, when it is a file.
type request struct{ method, url, body, file string }

// line is what a person would type.
func (r request) line() string {
	line := "$ curl"
	if r.method != http.MethodGet {
		line += " -X " + r.method
	}
	line += " '" + r.url + "'"
	switch {
	case r.file != "":
		line += " --upload-file " + r.file
	case r.body != "":
		line += " -d '" + r.body + "'"
	}
	return line
}

// send prints the line, sends the request, and prints and checks the answer.
func (w *walk) send(ctx context.Context, r request, want int) (answer string, err error) {
	fmt.Fprintln(w.out, r.line())
	status, answer, err := w.exchange(ctx, r)
	if err != nil {
		return "", err
	}
	w.show(status, answer)
	if status != want {
		return answer, fmt.Errorf("want the status %d, got %d", want, status)
	}
	return answer, nil
}

// await asks until the answer holds every text of want, and prints that one.
func (w *walk) await(ctx context.Context, url string, want ...string) error {
	r := request{method: http.MethodGet, url: url}
	fmt.Fprintln(w.out, r.line())
	for {
		status, answer, err := w.exchange(ctx, r)
		if err != nil {
			return err
		}
		working := slices.ContainsFunc([]string{"DEPLOYING", "CREATING", "STARTING"}, func(state string) bool { return strings.Contains(answer, state) })
		if missing := expect(nil, answer, want...); missing == nil || !working {
			w.show(status, answer)
			return missing
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (w *walk) exchange(ctx context.Context, r request) (status int, answer string, err error) {
	request, err := http.NewRequestWithContext(ctx, r.method, r.url, strings.NewReader(r.body))
	if err != nil {
		return 0, "", err
	}
	response, err := w.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return response.StatusCode, string(data), err
}

// show prints an answer, JSON indented.
func (w *walk) show(status int, answer string) {
	fmt.Fprintf(w.out, "%d %s\n", status, http.StatusText(status))
	var pretty bytes.Buffer
	if json.Indent(&pretty, []byte(answer), "", "  ") == nil {
		answer = pretty.String()
	}
	if answer = strings.TrimSpace(answer); answer != "" {
		fmt.Fprintln(w.out, answer)
	}
	fmt.Fprintln(w.out)
}

// typed runs git as the person at the terminal would and prints what it says.
func (w *walk) typed(ctx context.Context, args ...string) (string, error) {
	words := slices.Clone(args)
	for i, word := range words {
		if strings.ContainsAny(word, " %") {
			words[i] = "'" + word + "'"
		}
	}
	fmt.Fprintln(w.out, "$ git "+strings.Join(words, " "))
	git := exec.CommandContext(ctx, "git", args...)
	git.Dir, git.Env = w.folder, w.environ
	said, err := git.CombinedOutput()
	fmt.Fprintf(w.out, "%s\n", said)
	if err != nil {
		return string(said), fmt.Errorf("git %s: %w", args[0], err)
	}
	return string(said), nil
}

// expect wants every text in answer, spaces in JSON apart.
func expect(err error, answer string, want ...string) error {
	if err != nil {
		return err
	}
	var compact bytes.Buffer
	if json.Compact(&compact, []byte(answer)) == nil {
		answer = compact.String()
	}
	for _, text := range want {
		if !strings.Contains(answer, text) {
			return fmt.Errorf("want %s in the answer, got %s", text, answer)
		}
	}
	return nil
}
