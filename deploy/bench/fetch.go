package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

// fetch measures clones and fetches that find nothing new, of repositories that
// our server made; the peers have copies of them, packed alike.
func fetch(ctx context.Context, b *bench) ([]line, error) {
	folder, err := b.sub("copies")
	if err != nil {
		return nil, err
	}
	s, err := b.serve(ctx, "fetch")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	for _, size := range b.sizes.gits {
		b.progress("  makes the repository of %s", size.label)
		if err := prepareCopy(ctx, s, folder, size); err != nil {
			return nil, err
		}
	}
	peers, lines, err := b.peersOf(ctx, folder, folder)
	defer func() { stopAll(peers) }()
	if err != nil {
		return nil, err
	}
	rs := &rivals{list: append([]*rival{{child: s.child, name: "ours", url: s.git + "/packages"}}, peers...)}
	for _, size := range b.sizes.gits {
		got, err := rs.fetches(ctx, b, size)
		lines = append(lines, got...)
		if err != nil {
			return lines, err
		}
	}
	return lines, nil
}

// prepareCopy publishes a package and copies its repository.
func prepareCopy(ctx context.Context, s *server, folder string, size gitSize) error {
	id := size.name + "-1.0.0"
	path := filepath.Join(folder, id+".tar.gz")
	if err := archiveFile(path, archiveOf{id: id, kinds: mixed, raw: size.raw, level: 6}); err != nil {
		return err
	}
	if err := s.uploadFile(ctx, id, path); err != nil {
		return err
	}
	_, err := command(ctx, folder, "cp", "-a", filepath.Join(s.data, "packages", size.name+".git"), folder)
	return err
}

// fetches makes the lines of one repository.
func (rs *rivals) fetches(ctx context.Context, b *bench, size gitSize) (lines []line, err error) {
	var want uint32
	for _, r := range rs.list { // each has read its files once, and all have the same
		got, err := cloneAway(ctx, r.url+"/"+size.name+".git")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		if want == 0 {
			want = got
		}
		if got != want {
			return nil, fmt.Errorf("%s sends %d objects, ours %d", r.name, got, want)
		}
	}
	for _, l := range size.clones {
		b.progress("  clones %s by %d clients", size.label, l.clients)
		err := rs.contest(ctx, l, func(ctx context.Context, r *rival, _ int) error {
			got, err := cloneAway(ctx, r.url+"/"+size.name+".git")
			if err == nil && got != want {
				err = fmt.Errorf("got %d objects, want %d", got, want)
			}
			return err
		})
		lines = append(lines, rs.line(l.atOnce("clone of "+size.label), goal{atMost, 1.2, "×"}))
		if err = errors.Join(err, rs.told()); err != nil {
			return lines, err
		}
	}
	for _, l := range size.looks {
		b.progress("  fetches nothing of %s by %d clients", size.label, l.clients)
		err := rs.contest(ctx, l, func(ctx context.Context, r *rival, _ int) error {
			v := visit(r.url + "/" + size.name + ".git")
			defer v.leave()
			_, err := v.look(ctx)
			return err
		})
		lines = append(lines, rs.line(l.atOnce("fetch of nothing new from "+size.label), goal{unit: "×"}))
		if err = errors.Join(err, rs.told()); err != nil {
			return lines, err
		}
	}
	return lines, nil
}

func cloneAway(ctx context.Context, url string) (uint32, error) {
	v := visit(url)
	defer v.leave()
	return v.clone(ctx)
}
