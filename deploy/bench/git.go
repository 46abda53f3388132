package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// gitSettings keep git from reading anybody's configuration.
func gitSettings() []string {
	return []string{
		"HOME=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=ana", "GIT_AUTHOR_EMAIL=ana@example.org", "GIT_COMMITTER_NAME=ana", "GIT_COMMITTER_EMAIL=ana@example.org",
		"LC_ALL=C", "NO_PROXY=*", "no_proxy=*",
	}
}

// command runs a program in a folder and returns what it wrote.
func command(ctx context.Context, folder, name string, args ...string) (string, error) {
	var out bytes.Buffer
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Stdout = folder, &out
	err := runCommand(c)
	return strings.TrimSpace(out.String()), err
}

// discard runs a program whose output goes to the null device.
func discard(ctx context.Context, name string, args ...string) error {
	return runCommand(exec.CommandContext(ctx, name, args...))
}

// cleanEnvironment is the environment without what could change how git works.
func cleanEnvironment(more ...string) []string {
	var list []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "GIT_") {
			list = append(list, pair)
		}
	}
	return append(append(list, gitSettings()...), more...)
}

func runCommand(c *exec.Cmd) error {
	c.Env = cleanEnvironment()
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(c.Args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}

// commitAll is how PNDA, and a person, puts a folder into a repository.
func commitAll(ctx context.Context, folder, message string) error {
	if _, err := command(ctx, folder, "git", "add", "-A"); err != nil {
		return err
	}
	_, err := command(ctx, folder, "git", "commit", "-q", "-m", message)
	return err
}
