package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pndaproject/deployment-manager/deploy/examples"
)

// demoWork is the repository of a developer, who has never cloned ours.
const demoWork = "laptop"

// publish pushes a version out of a developer's own repository.
func (w *walk) publish(ctx context.Context) error {
	files, err := examples.Files(demoNew)
	if err != nil {
		return err
	}
	work := filepath.Join(w.folder, demoWork)
	if err := os.CopyFS(work, files); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main", demoWork},
		{"-C", demoWork, "add", "."},
		{"-C", demoWork, "commit", "-q", "-m", "Explain the data"},
		{"-C", demoWork, "tag", "v1.1.0"},
	} {
		if _, err := w.typed(ctx, args...); err != nil {
			return err
		}
	}
	answer, err := w.typed(ctx, "-C", demoWork, "push", w.asUser(demoAuthor)+"/packages/"+demoName+".git", "v1.1.0")
	if err := expect(err, answer, demoNew+" is published"); err != nil {
		return err
	}
	return w.deploy(ctx, demoNew)
}

// refusal pushes what no package may hold, and wants every fault to be told.
func (w *walk) refusal(ctx context.Context) error {
	component := filepath.Join(w.folder, demoWork, "jupyter", "report")
	if err := os.Symlink("/etc/passwd", filepath.Join(component, "users")); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(component, `a\b.csv`), nil, 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"-C", demoWork, "add", "."},
		{"-C", demoWork, "commit", "-q", "-m", "Try what is not allowed"},
		{"-C", demoWork, "tag", "v1.2.0"},
	} {
		if _, err := w.typed(ctx, args...); err != nil {
			return err
		}
	}
	answer, err := w.typed(ctx, "-C", demoWork, "push", w.asUser(demoAuthor)+"/packages/"+demoName+".git", "v1.2.0")
	var exit *exec.ExitError
	if err == nil || !errors.As(err, &exit) {
		return fmt.Errorf("the push was not refused: %w", err)
	}
	return expect(nil, answer, "symbolic link", "backslash", "remote rejected")
}

// push changes the application by its application.json.
func (w *walk) push(ctx context.Context) error {
	if _, err := w.typed(ctx, "clone", w.asUser(demoUser)+"/applications/"+demoApp+".git"); err != nil {
		return err
	}
	file := filepath.Join(w.folder, demoApp, "application.json")
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(content), demoOld, demoNew, 1)), 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"-C", demoApp, "diff", "-U0"},
		{"-C", demoApp, "commit", "-q", "-a", "-m", "Take the new version"},
	} {
		if _, err := w.typed(ctx, args...); err != nil {
			return err
		}
	}
	answer, err := w.typed(ctx, "-C", demoApp, "push")
	return expect(err, answer, "remote: "+demoApp+": CREATED", "remote: watch it at ")
}

// rollback goes back to the first deployment and sees the notebooks go with it.
func (w *walk) rollback(ctx context.Context) error {
	url := w.manager + "/api/v1/applications/" + demoApp + "/rollback?user.name=" + demoUser
	if _, err := w.send(ctx, request{method: http.MethodPost, url: url, body: `{"to": 1, "reason": "the new report is too long"}`}, http.StatusAccepted); err != nil {
		return err
	}
	if err := w.await(ctx, w.manager+"/applications/"+demoApp, `"package_name":"`+demoOld+`"`, `"status":"CREATED"`); err != nil {
		return err
	}
	if err := w.pull(ctx); err != nil {
		return err
	}
	added := filepath.Join(w.folder, "jupyter-"+demoUser, demoApp, "help", "about-the-data.ipynb")
	if _, err := os.Lstat(added); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("a file of the new version is still in the workspace: %w", err)
	}
	return nil
}

// past asks the API what the repositories tell as well.
func (w *walk) past(ctx context.Context) error {
	url := w.manager + "/api/v1/applications/" + demoApp + "/history?user.name=" + demoUser
	answer, err := w.send(ctx, request{method: http.MethodGet, url: url}, http.StatusOK)
	return expect(err, answer, `"action":"rollback"`, `"reason":"the new report is too long"`, `"via":"push"`, `"action":"create"`)
}

// asUser is the git address for a person; this server takes any password.
func (w *walk) asUser(name string) string {
	return strings.Replace(w.git, "http://", "http://"+name+":any@", 1)
}
