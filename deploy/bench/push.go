package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// push measures the first push of a package by git's own client. Ours makes
// the repository, judges the content and publishes it; the peers have an empty
// repository ready and store what comes.
func push(ctx context.Context, b *bench) ([]line, error) {
	folder, err := b.sub("push")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	peers, lines, err := b.peersOf(ctx, filepath.Join(folder, "gitkit"), filepath.Join(folder, "nginx"))
	defer func() { stopAll(peers) }()
	if err != nil {
		return nil, err
	}
	for _, size := range b.sizes.gits {
		source := filepath.Join(folder, size.name)
		b.progress("  makes a developer's repository of %s", size.label)
		if err := develop(ctx, source, size); err != nil {
			return lines, err
		}
		for _, l := range size.pushes {
			b.progress("  pushes %s by %d clients", size.label, l.clients)
			got, err := b.pushes(ctx, peers, folder, size, l)
			lines = append(lines, got...)
			if err != nil {
				return lines, err
			}
		}
	}
	return lines, nil
}

// pushes makes one line, with a fresh server and fresh repositories, which are
// gone afterwards: a burst of large ones takes gigabytes.
func (b *bench) pushes(ctx context.Context, peers []*rival, folder string, size gitSize, l burst) ([]line, error) {
	name := fmt.Sprintf("push-%s-%d", size.name, l.clients)
	s, err := b.serve(ctx, name)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(filepath.Join(b.folder, name))
	defer s.stop()
	if int64(l.clients)*size.raw > mostPushedAtOnce*megabyte {
		peers = peers[:1] // each of the others would take as long as gitkit
	}
	for _, r := range peers {
		repositories := filepath.Join(folder, r.name)
		defer os.RemoveAll(repositories)
		for i := range l.operations * l.rounds {
			if err := emptyRepository(ctx, filepath.Join(repositories, packageName(size, i))); err != nil {
				return nil, err
			}
		}
	}
	ours := strings.Replace(s.git, "//", "//ana:any@", 1) + "/packages" // a push says who pushes
	rs := &rivals{list: append([]*rival{{child: s.child, name: "ours", url: ours}}, peers...)}
	err = rs.contest(ctx, l, func(ctx context.Context, r *rival, i int) error {
		_, err := command(ctx, filepath.Join(folder, size.name), "git", "push", "-q", r.url+"/"+packageName(size, i), "v1.0.0")
		return err
	})
	if refused := rs.told(); refused != nil {
		b.progress("    %v", refused)
	}
	bound := goal{unit: "×"}
	if size.goal > 0 {
		bound = goal{atMost, size.goal, "×"}
	}
	return []line{rs.line(l.atOnce("push of "+size.label), bound)}, err
}

// mostPushedAtOnce is how many megabytes may be pushed at once to all peers; more
// go to gitkit alone, so that the run ends in its time.
const mostPushedAtOnce = 500

// packageName is the repository of one push.
func packageName(size gitSize, i int) string { return fmt.Sprintf("%s-%03d.git", size.name, i) }

// develop makes a repository as a developer has it: the package's files, one
// commit, a tag, packed.
func develop(ctx context.Context, folder string, size gitSize) error {
	err := content(mixed, size.raw, 0, func(f file) error {
		path := filepath.Join(folder, "jupyter", "report", f.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, f.content, 0o644)
	})
	if err != nil {
		return err
	}
	if _, err := command(ctx, folder, "git", "init", "-q"); err != nil {
		return err
	}
	if err := commitAll(ctx, folder, "first version"); err != nil {
		return err
	}
	if _, err := command(ctx, folder, "git", "tag", "v1.0.0"); err != nil {
		return err
	}
	_, err = command(ctx, folder, "git", "gc", "-q")
	return err
}

// emptyRepository makes a repository with git's defaults that takes pushes
// from everybody.
func emptyRepository(ctx context.Context, path string) error {
	if _, err := command(ctx, "/", "git", "init", "-q", "--bare", path); err != nil {
		return err
	}
	_, err := command(ctx, path, "git", "config", "http.receivepack", "true")
	return err
}
