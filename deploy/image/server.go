package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// build is one of the server.
type build struct {
	folder          string // of the programs
	version, commit string // commit is empty outside git
	when            time.Time
}

// tag is the version as a tag of an image may be.
func (b build) tag() string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r == '.' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, b.version), "-.")
}

// buildServer compiles the server of the checkout source into folder: without
// C, so that it needs no library of the system, and without paths of this
// machine.
func buildServer(ctx context.Context, source, folder string) (b build, err error) {
	b.folder = folder
	stamp := "auto"
	if b.commit, err = run(ctx, source, "git", "rev-parse", "HEAD"); err != nil {
		b.commit, stamp = "", "false" // no git, or a checkout of another user
	}
	for _, path := range []string{program, hook} {
		if err := compile(ctx, source, folder, filepath.Base(path), filepath.Base(path), "-buildvcs="+stamp); err != nil {
			return b, err
		}
	}
	// Pods keep a program by its SHA-256, so it is the same for every commit that
	// does not change it. Without inlining it is smaller, and waits for disks as long.
	for _, processor := range processors() {
		name := filepath.Base(podProgram + processor)
		if err := compile(ctx, source, folder, "deployment-manager-sync", name, "-buildvcs=false", "GOARCH="+processor, "GOFLAGS=-gcflags=all=-l"); err != nil {
			return b, err
		}
	}
	said, err := run(ctx, source, filepath.Join(folder, filepath.Base(program)), "version")
	if err != nil {
		return b, err
	}
	// "deployment-manager 0123456789ab, go1.26 linux/amd64"
	fields := strings.Fields(said)
	if len(fields) < 2 {
		return b, fmt.Errorf("the server does not tell its version but %q", said)
	}
	b.version = strings.TrimSuffix(fields[1], ",")
	b.when, err = buildTime(ctx, source, b.commit)
	return b, err
}

// compile builds one program of the source into a file of the folder.
func compile(ctx context.Context, source, folder, command, name, stamp string, environ ...string) error {
	args := []string{"build", "-trimpath", "-ldflags=-s -w", stamp, "-o", filepath.Join(folder, name), "./cmd/" + command}
	_, err := runWith(ctx, source, environ, "go", args...)
	return err
}

// buildTime is the commit's, so that every build of it is the same.
func buildTime(ctx context.Context, source, commit string) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" && commit == "" {
		return time.Unix(0, 0).UTC(), nil
	}
	if text == "" {
		var err error
		if text, err = run(ctx, source, "git", "log", "-1", "--format=%ct"); err != nil {
			return time.Time{}, err
		}
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	return time.Unix(seconds, 0).UTC(), err
}

// serverTree is the layer of the server.
func serverTree(b build) (tree, error) {
	t := tree{}
	paths := []string{program, hook}
	for _, processor := range processors() {
		paths = append(paths, podProgram+processor)
	}
	for _, path := range paths {
		content, err := os.ReadFile(filepath.Join(b.folder, filepath.Base(path)))
		if err != nil {
			return nil, err
		}
		t.file(strings.TrimPrefix(path, "/"), 0o755, content, b.when)
	}
	t.complete(b.when)
	return t, nil
}

// values are what the Helm chart is to be told of this image under a tag: that,
// and which programs pods may run.
func values(server tree, tag string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "image:\n  tag: %q\nsync:\n  sha256:\n", tag)
	for _, processor := range processors() {
		name := strings.TrimPrefix(podProgram+processor, "/")
		fmt.Fprintf(&b, "  - \"%x\" # %s\n", sha256.Sum256(server[name].content), processor)
	}
	return b.String()
}

func run(ctx context.Context, dir, program string, args ...string) (string, error) {
	return runWith(ctx, dir, nil, program, args...)
}

func runWith(ctx context.Context, dir string, environ []string, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), environ...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(said.Bytes()))
	}
	return strings.TrimSpace(out.String()), nil
}
