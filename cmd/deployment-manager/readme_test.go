package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// pasted are the blocks of a page's section that people paste into a shell:
// those that begin with ```sh.
func pasted(t *testing.T, page, section string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", page))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n"+section+"\n")
	if !found {
		t.Fatalf("%s has no section %q", page, section)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	var script strings.Builder
	for _, block := range regexp.MustCompile("(?s)\n```sh\n(.*?)\n```\n").FindAllStringSubmatch(rest, -1) {
		script.WriteString(block[1] + "\n")
	}
	if script.Len() == 0 {
		t.Fatalf("%s has nothing to paste in the section %q", page, section)
	}
	return script.String()
}

// paste runs a script as it stands, but for the ports, in a folder that has
// what "make examples" needs of the project.
func (h *house) paste(script string, environ ...string) (folder, output string) {
	h.t.Helper()
	folder = h.t.TempDir()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		h.t.Fatal(err)
	}
	sources, err := filepath.Glob(filepath.Join(root, "*.go"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, file := range append(sources, filepath.Join(root, "go.mod"), filepath.Join(root, "go.sum"), filepath.Join(root, "Makefile")) {
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, filepath.Base(file)), data, 0o600)
		}
		if err != nil {
			h.t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(folder, "deploy", "examples"), os.DirFS(filepath.Join(root, "deploy", "examples"))); err != nil {
		h.t.Fatal(err)
	}
	for port, door := range map[string]string{"8888": "packages", "5000": "manager", "8099": "git"} {
		_, moved, err := net.SplitHostPort(h.addresses[door])
		if err != nil {
			h.t.Fatal(err)
		}
		script = regexp.MustCompile(`\b(127\.0\.0\.1|localhost):`+port+`\b`).ReplaceAllString(script, "${1}:"+moved)
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), 2*time.Minute)
	defer cancel()
	// pipefail and --fail-with-body: a refusal must end the script, as it must
	// end the walk of the person.
	shell := exec.CommandContext(ctx, "bash", "-e", "-u", "-o", "pipefail")
	shell.Stdin = strings.NewReader("curl() { command curl --silent --show-error --fail-with-body \"$@\"; }\n" + script)
	shell.Dir = folder
	shell.WaitDelay = time.Second
	cache, err := exec.CommandContext(ctx, "go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		h.t.Fatal(err)
	}
	caches := strings.Fields(string(cache))
	shell.Env = append(isolated(h.t.TempDir(), "GOCACHE="+caches[0], "GOMODCACHE="+caches[1], "GOFLAGS=-mod=mod"), environ...)
	var out bytes.Buffer
	shell.Stdout, shell.Stderr = &out, &out
	if err := shell.Run(); err != nil {
		h.t.Fatalf("the script ended: %v\n%s", err, out.String())
	}
	return folder, out.String()
}

func (h *house) wantFile(path, holds string) {
	h.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(data), holds) {
		h.t.Errorf("%s is %.200q, %v, want %q in it", filepath.Base(path), data, err, holds)
	}
}

func nobody(string) string { return "" }

func TestReadmeCanBePasted(t *testing.T) {
	t.Parallel()
	h := startHouse(t, t.TempDir(), nobody, "--auth", "insecure-pnda")
	folder, out := h.paste(pasted(t, "README.md", "## Upload, deploy, create, clone"))
	folder = filepath.Join(folder, "example-pnda-apps")
	h.wantFile(filepath.Join(folder, "jupyter-ana", "noon-run", "help", "about-the-data.ipynb"), "")
	if !strings.Contains(out, "flow-report.ipynb") || strings.Count(out, `"status":"CREATED"`) != 2 {
		t.Errorf("the walk-through shows no notebook, or not twice that the application is CREATED:\n%s", out)
	}
	answer := h.send(200, "GET", h.url("manager", "", "/applications/noon-run?user.name=ana"), "")
	if !strings.Contains(answer, `"package_name":"flow-report-1.0.0"`) {
		t.Errorf("after the rollback: %s", answer)
	}
}

// PNDA's walk-through, to the letter, for who knows it.
func TestWalkThroughOfPNDACanBePasted(t *testing.T) {
	t.Parallel()
	const page, file = "docs/from-pnda.md", "sparkstreaming-notebook-example-0.1.0.tgz"
	for _, c := range []struct {
		name, section, login string
		options              []string
	}{
		{"PNDA's trust", "## The walk-through you know", "", []string{"--auth", "insecure-pnda"}},
		{"strict", "## The same where everybody signs in", "pnda:a good password@", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			hash, err := bcrypt.GenerateFromPassword([]byte("a good password"), bcrypt.MinCost)
			if err != nil {
				t.Fatal(err)
			}
			users := filepath.Join(folder, "users")
			if err := os.WriteFile(users, []byte("pnda:"+string(hash)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.login != "" {
				c.options = []string{"--htpasswd", users}
			}
			h := startHouse(t, folder, nobody, c.options...)
			made, out := h.paste(pasted(t, page, c.section), "PASSWORD=a good password")
			for _, name := range []string{"openmetrics-producer.ipynb", "parse-openmetrics-streaming.ipynb"} {
				h.wantFile(filepath.Join(made, "apps-notebooks", "app1", name), "app1")
			}
			if !strings.Contains(out, file) || !strings.Contains(out, `"name":"sparkstreaming-notebook-example"`) {
				t.Errorf("the package is not listed:\n%s", out)
			}
		})
	}
}
