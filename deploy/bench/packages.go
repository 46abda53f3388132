package main

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// packages measures upload and download of generated packages.
func packages(ctx context.Context, b *bench) ([]line, error) {
	folder, err := b.sub("archives")
	if err != nil {
		return nil, err
	}
	s, err := b.serve(ctx, "packages")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	files, address, err := b.peer("files", folder)
	if err != nil {
		return nil, err
	}
	defer files.stop()
	var uploads, downloads []line
	for i, a := range b.sizes.archives {
		p := packaged{b: b, s: s, label: a.label, id: fmt.Sprintf("mixed-%d", i), path: filepath.Join(folder, fmt.Sprintf("mixed-%d.tar.gz", i))}
		b.progress("  makes the package of %s", a.label)
		if err := archiveFile(p.path, archiveOf{id: p.id, kinds: mixed, raw: a.raw, level: gzip.DefaultCompression}); err != nil {
			return nil, err
		}
		b.progress("  uploads it")
		lines, err := p.uploads(ctx, a.rounds)
		if err != nil {
			return nil, err
		}
		uploads = append(uploads, lines...)
		if lines, err = p.downloads(ctx, files, address); err != nil {
			return uploads, err
		}
		downloads = append(downloads, lines...)
	}
	return append(uploads, downloads...), nil
}

// packaged is one generated package and where it is measured.
type packaged struct {
	b           *bench
	s           *server
	label       string
	id          string // without a version
	path        string
	uploaded    string // id of an uploaded one
	sizeOfBytes int64
}

// uploads takes turns between an upload over HTTP, tar and git in the shell's
// way, and gzip alone.
func (p *packaged) uploads(ctx context.Context, rounds int) ([]line, error) {
	info, err := os.Stat(p.path)
	if err != nil {
		return nil, err
	}
	p.sizeOfBytes = info.Size()
	var ours, git, gunzip []time.Duration
	var gitSpent time.Duration
	before := p.s.spent()
	for round := range rounds {
		// A name of its own: a second version would find the first one's files.
		p.uploaded = fmt.Sprintf("%s-%d-1.0.0", p.id, round)
		for _, way := range []struct {
			to *[]time.Duration
			do func() error
		}{
			{&ours, func() error { return p.s.uploadFile(ctx, p.uploaded, p.path) }},
			{&git, func() (err error) {
				begin := childrenCPU()
				err = p.tarAndGit(ctx)
				gitSpent += childrenCPU() - begin
				return err
			}},
			{&gunzip, func() error { return discard(ctx, "gzip", "-dc", p.path) }},
		} {
			took, err := settled(way.do)
			if err != nil {
				return nil, err
			}
			*way.to = append(*way.to, took)
		}
		if err := os.RemoveAll(p.unpacked()); err != nil {
			return nil, err
		}
	}
	n := time.Duration(rounds)
	spent := (p.s.spent() - before) / n
	gitSpent /= n
	what := fmt.Sprintf("upload of %s (%s)", p.label, bytesText(p.sizeOfBytes))
	return []line{
		faster(what+", beside tar x, git add, commit, tag", ours, git, 2.7),
		slower("same, beside gzip -dc", ours, gunzip, 4),
		{what: "same, processor time, beside tar and git", ours: show(spent), beside: show(gitSpent), value: ratio(gitSpent, spent), goal: goal{unit: "×"}},
	}, nil
}

func (p *packaged) unpacked() string { return p.path + ".unpacked" }

// tarAndGit is what PNDA's users and plugins did with an archive.
func (p *packaged) tarAndGit(ctx context.Context) error {
	folder := p.unpacked()
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	if _, err := command(ctx, folder, "tar", "-xzf", p.path); err != nil {
		return err
	}
	if _, err := command(ctx, folder, "git", "init", "-q"); err != nil {
		return err
	}
	if err := commitAll(ctx, folder, "1.0.0"); err != nil {
		return err
	}
	_, err := command(ctx, folder, "git", "tag", "1.0.0")
	return err
}

// settled times do after what earlier work left in memory is on the disk.
func settled(do func() error) (time.Duration, error) {
	syscall.Sync()
	begin := time.Now()
	err := do()
	return time.Since(begin), err
}

// downloads takes turns between the server and a static file server.
func (p *packaged) downloads(ctx context.Context, files *child, address string) ([]line, error) {
	var ours, static []time.Duration
	oursBefore, staticBefore := p.s.spent(), files.spent()
	for range p.b.sizes.downloads {
		for _, side := range []struct {
			to  *[]time.Duration
			url string
		}{
			{&ours, p.s.packages + "/packages/" + p.uploaded + ".tar.gz?user.name=ana"},
			{&static, address + "/" + filepath.Base(p.path)},
		} {
			took, err := p.download(ctx, side.url)
			if err != nil {
				return nil, err
			}
			*side.to = append(*side.to, took)
		}
	}
	n := time.Duration(p.b.sizes.downloads)
	oursCPU, staticCPU := (p.s.spent()-oursBefore)/n, (files.spent()-staticBefore)/n
	return []line{
		slower(fmt.Sprintf("download of %s, beside a static file", p.label), ours, static, 3),
		{what: "same, processor time of the server", ours: show(oursCPU), beside: show(staticCPU), value: ratio(oursCPU, staticCPU), goal: goal{unit: "×"}},
	}, nil
}

func (p *packaged) download(ctx context.Context, url string) (time.Duration, error) {
	begin := time.Now()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	response, err := p.s.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	got, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, response.Body, make([]byte, 256<<10))
	if err == nil && (got != p.sizeOfBytes || response.StatusCode != http.StatusOK) {
		err = fmt.Errorf("%s: got %s and %d bytes, want %d", url, response.Status, got, p.sizeOfBytes)
	}
	return time.Since(begin), err
}

// bytesText is a size in decimal megabytes.
func bytesText(n int64) string { return significant(float64(n)/megabyte) + " MB .tar.gz" }
