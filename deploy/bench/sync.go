package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// shellBefore is the content of the shell that did the sync program's work before
// it, as git names it. A clone of the project has it in its history.
const shellBefore = "4975fc682dc7a74fd02c1e0a780bb8aba19ff361"

// Of the files that a user gets, changed differ from version to version.
const homeFiles, homeChanged = 42, 5

// syncs measures a user's start hook: what comes the first time, nothing new, and
// some changed files, beside the shell of before in a home of its own.
func syncs(ctx context.Context, b *bench) ([]line, error) {
	folder, err := b.sub("sync")
	if err != nil {
		return nil, err
	}
	script := filepath.Join(folder, "before.sh")
	text, err := exec.CommandContext(ctx, "git", "cat-file", "blob", shellBefore).Output()
	if err != nil {
		return []line{{what: "sync of a user's folder", beside: "skipped: the shell of before is not in this clone's history"}}, nil
	}
	if err := os.WriteFile(script, text, 0o600); err != nil {
		return nil, err
	}
	s, err := b.serve(ctx, "sync-server")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	for version := range 2 {
		id := fmt.Sprintf("lesson-1.%d.0", version)
		path := filepath.Join(folder, id+".tar.gz")
		if err := errors.Join(homeArchive(path, id, version), s.uploadFile(ctx, id, path), s.deploy(ctx, id)); err != nil {
			return nil, err
		}
	}
	if err := s.createLesson(ctx); err != nil {
		return nil, err
	}
	ways, err := waysLines(ctx, b, s, folder)
	if err != nil {
		return nil, err
	}
	ours := &home{server: s, command: []string{filepath.Join(filepath.Dir(b.program), "deployment-manager-sync")}, folder: filepath.Join(folder, "ours")}
	before := &home{server: s, command: []string{"sh", script}, folder: filepath.Join(folder, "before")}
	lines, err := syncLines(ctx, b, s, ours, before)
	return append(lines, ways...), err
}

// createLesson gives the user pnda the first version.
func (s *server) createLesson(ctx context.Context) error {
	app := s.manager + "/applications/lesson"
	if _, err := s.sendText(ctx, "PUT", app+"?user.name=pnda", `{"package": "lesson-1.0.0"}`, 202); err != nil {
		return err
	}
	if err := s.settle(ctx, app+"/status", "CREATED"); err != nil {
		return err
	}
	_, err := s.ask(ctx, "pnda")
	return err
}

// waysLines measures sync.sh with each way of getting the program.
func waysLines(ctx context.Context, b *bench, s *server, folder string) (lines []line, err error) {
	script := filepath.Join(folder, "sync.sh")
	text, err := s.sendText(ctx, "GET", s.git+"/sync.sh", "", 200)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(script, text, 0o600); err != nil {
		return nil, err
	}
	program, err := os.ReadFile(filepath.Join(filepath.Dir(b.program), "deployment-manager-sync"))
	if err != nil {
		return nil, err
	}
	none := "DM_SYNC_MOUNT=" + filepath.Join(folder, "nothing")
	for _, way := range []struct {
		name string
		env  []string
	}{
		{"the program mounted", []string{"DM_SYNC_MOUNT=" + filepath.Dir(b.program)}},
		{"the program from /tools.git, then the cache", []string{none, fmt.Sprintf("DM_SYNC_SHA256=%x", sha256.Sum256(program))}},
		{"plain git", []string{none}},
	} {
		h := &home{server: s, command: []string{"sh", script}, env: way.env, folder: filepath.Join(folder, "way")}
		for range b.sizes.syncs {
			if err := errors.Join(os.RemoveAll(h.folder), os.MkdirAll(h.folder, 0o700), h.sync(ctx, &h.first), h.sync(ctx, &h.same)); err != nil {
				return nil, err
			}
		}
		lines = append(lines, line{what: "start hook by sync.sh, " + way.name + ": the first start, later ones", ours: show(median(h.first)), beside: show(median(h.same))})
	}
	return lines, nil
}

func syncLines(ctx context.Context, b *bench, s *server, ours, before *home) ([]line, error) {
	var clones []time.Duration
	for round := range b.sizes.syncs {
		for _, h := range []*home{ours, before} {
			if err := errors.Join(os.RemoveAll(h.folder), os.MkdirAll(h.folder, 0o700), h.sync(ctx, &h.first), h.sync(ctx, &h.same)); err != nil {
				return nil, err
			}
		}
		clone := filepath.Join(filepath.Dir(ours.folder), "clone")
		begin := time.Now()
		if _, err := command(ctx, "", "git", "clone", "-q", s.git+"/jupyter-pnda", clone); err != nil {
			return nil, err
		}
		clones = append(clones, time.Since(begin))
		if err := os.RemoveAll(clone); err != nil {
			return nil, err
		}
		change := fmt.Sprintf(`{"package": "lesson-1.%d.0"}`, 1-round%2)
		if _, err := s.change(ctx, "lesson", "pnda", change); err != nil {
			return nil, err
		}
		if _, err := s.ask(ctx, "pnda"); err != nil { // so that the side that comes first does not wait for what both get
			return nil, err
		}
		for _, h := range []*home{ours, before} {
			if err := h.sync(ctx, &h.changed); err != nil {
				return nil, err
			}
		}
	}
	return []line{
		slower(fmt.Sprintf("sync of a user's folder, the first time: %d files", homeFiles), ours.first, before.first, 0.2),
		plain(slower("same, beside a plain git clone", ours.first, clones, 0)),
		slower("sync of a user's folder, nothing new", ours.same, before.same, 0.06),
		slower(fmt.Sprintf("sync of a user's folder, %d changed files", homeChanged), ours.changed, before.changed, 0.15),
	}, nil
}

// home is a user's, and how long its start hooks took.
type home struct {
	server               *server
	command              []string
	env                  []string
	folder               string
	first, same, changed []time.Duration
}

func (h *home) sync(ctx context.Context, took *[]time.Duration) error {
	cmd := exec.CommandContext(ctx, h.command[0], h.command[1:]...)
	cmd.Env = append(h.env[:len(h.env):len(h.env)], "PATH="+os.Getenv("PATH"), "HOME="+h.folder, "JUPYTERHUB_USER=pnda", "DM_GIT_URL="+h.server.git)
	begin := time.Now()
	out, err := cmd.Output()
	*took = append(*took, time.Since(begin))
	if err != nil || !strings.HasPrefix(string(out), "apps-notebooks: up to date") {
		return fmt.Errorf("%v told %q: %w", h.command, out, errors.Join(err, errors.New("want up to date")))
	}
	return nil
}

// homeArchive writes a package whose application is homeFiles files.
func homeArchive(path, id string, version int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	zip := gzip.NewWriter(f)
	out := tar.NewWriter(zip)
	add := func(name string, content []byte) error {
		header := tar.Header{Typeflag: tar.TypeReg, Name: id + "/jupyter/lesson/" + name, Mode: 0o644, Size: int64(len(content))}
		err := out.WriteHeader(&header)
		if err == nil {
			_, err = out.Write(content)
		}
		return err
	}
	err = add("properties.json", []byte("{}\n"))
	for i := range homeFiles - 1 {
		seed := uint64(i)
		if i < homeChanged {
			seed += uint64(version) << 32
		}
		err = errors.Join(err, add(fmt.Sprintf("part-%d/notebook-%03d.ipynb", i%4, i), newSource(seed).notebook(40_000)))
	}
	return errors.Join(err, out.Close(), zip.Close(), f.Close())
}
