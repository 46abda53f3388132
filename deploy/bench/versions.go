package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"time"
)

// versions measures the list of the package repository when it is long.
func versions(ctx context.Context, b *bench) ([]line, error) {
	s, err := b.serve(ctx, "versions")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	count := b.sizes.names * b.sizes.versionsEach
	b.progress("  fills a server with %d versions", count)
	begin := time.Now()
	err = parallel(ctx, b.sizes.fillers, b.sizes.names, func(ctx context.Context, name int) error {
		for version := range b.sizes.versionsEach {
			id := fmt.Sprintf("listed-%03d-1.%d.0", name, version)
			archive, err := tiny(id)
			if err != nil {
				return err
			}
			if err := s.upload(ctx, id, bytes.NewReader(archive), int64(len(archive))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	perSecond := float64(count) / time.Since(begin).Seconds()
	lines := []line{{
		what: fmt.Sprintf("uploads of a tiny package by %d clients", b.sizes.fillers),
		ours: significant(perSecond) + "/s", value: 1000 / perSecond, goal: goal{unit: " ms each"},
	}}
	for _, door := range []struct{ what, url string }{
		{"GET /packages of the repository", s.packages + "/packages?user.name=ana"},
		{"GET /repository/packages of the manager", s.manager + "/repository/packages?recency=999&user.name=ana"},
	} {
		times, err := s.list(ctx, door.url, b.sizes.listRequests, b.sizes.names)
		if err != nil {
			return nil, err
		}
		lines = append(lines, quick(fmt.Sprintf("%s with %d versions (%d × %d), p50", door.what, count, b.sizes.names, b.sizes.versionsEach), times, 20))
	}
	return lines, nil
}

// tiny is the smallest package of use.
func tiny(id string) ([]byte, error) {
	var archive bytes.Buffer
	zip := gzip.NewWriter(&archive)
	out := tar.NewWriter(zip)
	for _, f := range []file{
		{"properties.json", []byte(`{"topic": "flows"}` + "\n")},
		{"notebook.ipynb", newSource(1).notebook(500)},
		{"about.txt", []byte("This is " + id + ".\n")},
	} {
		header := tar.Header{Typeflag: tar.TypeReg, Name: id + "/jupyter/report/" + f.path, Mode: 0o644, Size: int64(len(f.content))}
		if err := out.WriteHeader(&header); err != nil {
			return nil, err
		}
		if _, err := out.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return archive.Bytes(), nil
}
