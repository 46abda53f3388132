package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// secretObjects are the objects of one user's workspace that others want: by
// how they are kept, then by their type.
type secretObjects map[string]map[string]string

// TestCrossUserReads asks for another user's objects by their names, in every
// way that a request can spell it: none succeeds. git itself would send any object
// of a repository over protocol version 2, and many over version 0; so what keeps
// a user's objects is that no two workspaces share a store, and that a
// workspace answers its owner only.
func TestCrossUserReads(t *testing.T) {
	t.Parallel()
	h, objects := crossUserHouse(t)
	doors := []struct {
		name, user, path string
		status           int // git tells of a refusal inside of an answer of 200
		says             string
	}{
		{"the owner's workspace", "ben", "/jupyter-ana", http.StatusNotFound, "repository not found"},
		{"the owner's workspace under its other name", "ben", "/jupyter-ana.git", http.StatusNotFound, "repository not found"},
		{"the owner's workspace without a password", "", "/jupyter-ana", http.StatusUnauthorized, ""},
		{"the owner's workspace with a wrong password", "eve", "/jupyter-ana", http.StatusUnauthorized, ""},
		{"one's own workspace", "ben", "/jupyter-ben", http.StatusOK, "not our ref"},
		{"the workspace of a user who has nothing", "cyd", "/jupyter-cyd", http.StatusOK, "not our ref"},
		{"one's own application", "ben", "/applications/ben-app.git", http.StatusOK, "not our ref"},
		{"the package", "ben", "/packages/flow-report.git", http.StatusOK, "not our ref"},
	}
	succeeded, asked := 0, 0
	for _, door := range doors {
		for how, kinds := range objects {
			for kind, id := range kinds {
				for _, protocol := range []string{"", "version=1", "version=2"} {
					asked++
					status, answer := h.want(door.user, door.path, protocol, id)
					if status != door.status || !bytes.Contains(answer, []byte(door.says)) {
						t.Errorf("%s, %s %s, protocol %q: got %d %q, want %d with %q", door.name, how, kind, protocol, status, clipped(answer), door.status, door.says)
					}
					if holdsPack(answer) {
						succeeded++
						t.Errorf("%s, %s %s, protocol %q: the answer holds a pack", door.name, how, kind, protocol)
					}
				}
			}
		}
	}
	t.Logf("%d requests for another user's objects, %d succeeded", asked, succeeded)
	h.ownObjects(objects)
}

// ownObjects shows that the requests above are well formed: the owner gets what
// its refs show. What git gives it beyond that is its own, and told here only.
func (h *house) ownObjects(objects secretObjects) {
	h.t.Helper()
	for how, kinds := range objects {
		for kind, id := range kinds {
			for _, protocol := range []string{"", "version=2"} {
				status, answer := h.want("ana", "/jupyter-ana", protocol, id)
				got := holdsPack(answer)
				if how == "shown" && kind == "commit" && (!got || status != http.StatusOK) {
					h.t.Errorf("the owner's own head over protocol %q: got %d %q", protocol, status, clipped(answer))
				}
				h.t.Logf("owner, %s %s, protocol %q: sent %t", how, kind, protocol, got)
			}
		}
	}
}

// strictHouse is a strict server with people; eve has a wrong password of ana's.
func strictHouse(t *testing.T, people ...string) *house {
	folder := t.TempDir()
	login := func(user string) string {
		switch user {
		case "":
			return ""
		case "eve":
			return "ana:wrong@"
		}
		return user + ":secret-of-" + user + "@"
	}
	users := filepath.Join(folder, "users")
	var lines strings.Builder
	for _, user := range people {
		hash, err := bcrypt.GenerateFromPassword([]byte("secret-of-"+user), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&lines, "%s:%s\n", user, hash)
	}
	if err := os.WriteFile(users, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return startHouse(t, folder, login, "--htpasswd", users)
}

// crossUserHouse is a strict server where ana has, beside what her workspace
// shows, objects that no ref reaches and objects that only a hidden ref
// reaches. ben has a workspace of his own and cyd has none.
func crossUserHouse(t *testing.T) (*house, secretObjects) {
	h := strictHouse(t, "ana", "ben", "cyd")
	h.publish("ana", "flow-report-1.0.0")
	h.create("ana", "ana-app", "flow-report-1.0.0")
	h.create("ben", "ben-app", "flow-report-1.0.0")

	const repository = "users/ana.git"
	objects := secretObjects{"shown": {
		"commit": h.bare(repository, "rev-parse", "main"),
		"tree":   h.bare(repository, "rev-parse", "main:ana-app"),
		"blob":   h.blobOf(repository, "ana-app"),
	}}
	h.bare(repository, "config", "uploadpack.hideRefs", "refs/hidden")
	for _, how := range []string{"unreachable", "hidden"} {
		secret := filepath.Join(h.folder, how)
		if err := os.WriteFile(secret, []byte("what ana keeps "+how), 0o600); err != nil {
			t.Fatal(err)
		}
		blob := h.bare(repository, "hash-object", "-w", secret)
		tree := h.treeOf(repository, blob)
		commit := h.bare(repository, "commit-tree", "-m", how, tree)
		if how == "hidden" {
			h.bare(repository, "update-ref", "refs/hidden/secret", commit)
		}
		objects[how] = map[string]string{"commit": commit, "tree": tree, "blob": blob}
	}
	return h, objects
}

// blobOf is a file of an application in a workspace that names the application,
// so that no other repository has the same.
func (h *house) blobOf(repository, app string) string {
	h.t.Helper()
	for line := range strings.Lines(h.bare(repository, "ls-tree", "-r", "main:"+app)) {
		if id := strings.Fields(line)[2]; strings.Contains(h.bare(repository, "cat-file", "blob", id), app) {
			return id
		}
	}
	h.t.Fatalf("no file of %s names it", app)
	return ""
}

// treeOf makes a tree of one file.
func (h *house) treeOf(repository, blob string) string {
	h.t.Helper()
	h.bare(repository, "update-index", "--add", "--cacheinfo", "100644,"+blob+",secret.txt")
	tree := h.bare(repository, "write-tree")
	if err := os.Remove(filepath.Join(h.data(), filepath.FromSlash(repository), "index")); err != nil {
		h.t.Fatal(err)
	}
	return tree
}

// want asks for one object by its name, as a client would that knows it.
func (h *house) want(user, path, protocol, id string) (status int, answer []byte) {
	h.t.Helper()
	var body strings.Builder
	line := func(text string) { fmt.Fprintf(&body, "%04x%s", len(text)+4, text) }
	if protocol == "version=2" {
		line("command=fetch")
		line("object-format=sha1")
		body.WriteString("0001")
		line("want " + id + "\n")
		line("done\n")
		body.WriteString("0000")
	} else {
		line("want " + id + " side-band-64k ofs-delta agent=test\n")
		body.WriteString("0000")
		line("done\n")
	}
	request, err := http.NewRequest(http.MethodPost, h.url("git", user, path+"/git-upload-pack"), strings.NewReader(body.String()))
	if err != nil {
		h.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	if protocol != "" {
		request.Header.Set("Git-Protocol", protocol)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close()
	// An answer that git gives up is broken off; what came until then counts.
	answer, err = io.ReadAll(response.Body)
	if err != nil && len(answer) == 0 {
		h.t.Logf("%s: %v", path, err)
	}
	return response.StatusCode, answer
}

func holdsPack(answer []byte) bool { return bytes.Contains(answer, []byte("PACK")) }

func clipped(answer []byte) []byte { return answer[:min(len(answer), 200)] }
