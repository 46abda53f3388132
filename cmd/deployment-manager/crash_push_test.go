package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing/fstest"
	"time"

	"github.com/pndaproject/deployment-manager/gitstore/archive"
)

// byPush marks packages that were first published by a push. Their archives are
// made by the server.
const byPush = " pushed"

// pushedTarball is the archive that the server makes of pushed files.
func pushedTarball(files fs.FS, top string) ([]byte, error) {
	var members []archive.Member
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		members = append(members, archive.Member{Path: name, Size: int64(len(data)), Copy: func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		}})
		return err
	})
	var out bytes.Buffer
	err = errors.Join(err, archive.Write(&out, top, members))
	return out.Bytes(), err
}

// crashPusher is the door of git push: one person's repository, worked on with
// the real git client.
type crashPusher struct {
	*crashWorld
	dir      string
	accepted int // pushes
}

var _ crashDoor = (*crashPusher)(nil)

func newCrashPusher(w *crashWorld, name string) *crashPusher {
	w.t.Helper()
	p := &crashPusher{crashWorld: w, dir: filepath.Join(w.folder, name)}
	w.git("init", "-q", "--bare", p.dir)
	return p
}

func (p *crashPusher) mark(text string) string { return text + byPush }

func (p *crashPusher) publish(user, id, mark string) error {
	return p.publishBy(id, mark, func() (int, string, error) {
		name := packageOf(id)
		return p.push(user, "/packages/"+name+".git", "", crashFiles(mark), "refs/tags/v"+id[len(name)+1:], http.StatusOK)
	})
}

func (p *crashPusher) create(user, app, id, topic string) error {
	w := p.wish(user, app)
	w.Package, w.State, w.Audience = id, "created", nil
	w.Overrides.Jupyter.Report.Topic = topic
	return p.propose(user, app, p.afterCreate(user, app, id, topic), w)
}

func (p *crashPusher) change(user, app, id, topic, audience string) error {
	if now := p.app(app).now(); now.Package == id && now.Topic == topic && now.Audience == audience {
		return p.crashWorld.change(user, app, id, topic, audience) // git has nothing to push
	}
	w := p.wish(user, app)
	w.Package, w.Audience = id, subjects(audience)
	w.Overrides.Jupyter.Report.Topic = topic
	return p.propose(user, app, p.afterChange(app, id, topic, audience), w)
}

func (p *crashPusher) run(user, app, verb string) error {
	w := p.wish(user, app)
	w.State = map[string]string{"start": "started", "stop": "created"}[verb]
	return p.propose(user, app, p.afterRun(app, verb), w)
}

func (p *crashPusher) destroy(user, app string) error {
	w := p.wish(user, app)
	w.State = "destroyed"
	return p.propose(user, app, p.afterDestroy(app), w)
}

// wish is an application.json.
type wish struct {
	Name      string `json:"name"`
	Package   string `json:"package"`
	Owner     string `json:"owner"`
	State     string `json:"state"`
	Overrides struct {
		Jupyter struct {
			Report struct {
				Topic string `json:"topic"`
			} `json:"report"`
		} `json:"jupyter"`
	} `json:"overrides"`
	Audience []string `json:"audience,omitempty"`
}

// wish is what an application is now.
func (p *crashPusher) wish(user, app string) wish {
	now := p.app(app).now()
	w := wish{Name: app, Package: now.Package, Owner: user, State: strings.ToLower(now.Phase), Audience: subjects(now.Audience)}
	w.Overrides.Jupyter.Report.Topic = now.Topic
	return w
}

func subjects(audience string) []string {
	list := strings.Fields(audience)
	for i, user := range list {
		list[i] = "user:" + user
	}
	return list
}

// propose pushes an application.json on top of what the server has.
func (p *crashPusher) propose(user, app string, next appState, w wish) error {
	text, err := json.MarshalIndent(w, "", "  ")
	if err != nil {
		return err
	}
	path, base := "/applications/"+app+".git", ""
	if p.app(app).now().given > 0 {
		base = "refs/bases/" + app
		if out, err := p.client("", "fetch", "-q", p.address(user, path), "+refs/heads/main:"+base); err != nil {
			return p.gone(fmt.Errorf("fetch: %w: %s", err, out))
		}
	}
	return p.requestBy(app, next, func() (int, string, error) {
		return p.push(user, path, base, fstest.MapFS{"application.json": {Data: text}}, "refs/heads/main", http.StatusAccepted)
	})
}

// push commits files on top of base, if that is not empty, and pushes the
// commit. An accepted push has the status that REST would answer.
func (p *crashPusher) push(user, path, base string, files fs.FS, ref string, accepted int) (int, string, error) {
	const branch = "refs/heads/wish"
	var commit strings.Builder
	fmt.Fprintf(&commit, "reset %[1]s\ncommit %[1]s\ncommitter Eve <eve@elsewhere> 0 +0000\ndata 4\nwish\n", branch)
	if base != "" {
		fmt.Fprintf(&commit, "from %s^0\n", base)
	}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		fmt.Fprintf(&commit, "M 100644 inline %s\ndata %d\n%s\n", name, len(data), data)
		return err
	})
	if err != nil {
		return 0, "", err
	}
	if out, err := p.client(commit.String(), "fast-import", "--quiet", "--force"); err != nil {
		return 0, "", fmt.Errorf("fast-import: %w: %s", err, out)
	}
	out, err := p.client("", "push", "-o", "reason=a test", p.address(user, path), branch+":"+ref)
	if err == nil {
		p.accepted++
		return accepted, out, nil
	}
	if p.failing.Load() {
		return 0, "", p.gone(errors.New(out))
	}
	return http.StatusBadRequest, out, nil
}

// gone is err, unless the server's disk fails: then it is open what came of the
// request.
func (w *crashWorld) gone(err error) error {
	if w.failing.Load() {
		return errGone{fmt.Errorf("the server fails: %w", err)}
	}
	return err
}

func (p *crashPusher) address(user, path string) string {
	return "http://" + user + ":any@" + p.server.addresses["git"] + path
}

// client runs the real git in the person's repository.
func (p *crashPusher) client(input string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", append([]string{"--git-dir=" + p.dir, "-c", "gc.auto=0"}, args...)...)
	cmd.Env = []string{"HOME=" + p.folder, "PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0"}
	cmd.Stdin = strings.NewReader(input)
	cmd.WaitDelay = time.Second // its helpers hold the output
	out, err := cmd.CombinedOutput()
	return string(out), err
}
