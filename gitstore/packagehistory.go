package gitstore

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// packagePast is the history of all versions of one package.
type packagePast struct {
	entry   *packageEntry // of the index when it was read; another one tells of a change
	lines   map[plumbing.Hash]packageLine
	changes []dm.PastChange // newest first
	size    int
}

// packageLine is one tag, or one commit of refs/deployed.
type packageLine struct {
	change dm.PastChange
	below  plumbing.Hash // the outcome before, or the tag that a withdrawal is around
	size   int
}

// PackageHistory implements dm.History. Uploads and withdrawals have no
// outcome: they are done when they are recorded.
func (s *Store) PackageHistory(ctx context.Context, name dm.PackageName, page dm.Page) (dm.ChangePage, error) {
	const op = "gitstore.PackageHistory"
	leave, err := s.gates.readers.Enter(ctx)
	if err != nil {
		return dm.ChangePage{}, err
	}
	defer leave()
	limit, err := pageLimit(op, page.Limit)
	if err != nil {
		return dm.ChangePage{}, err
	}
	r := repo.Package(name)
	if err := s.service.Sound(r); err != nil {
		return dm.ChangePage{}, err
	}
	entry := s.index.pkg(name)
	if entry == nil {
		return dm.ChangePage{}, dm.Errorf(dm.NotFound, op, "there never was a package %s", name)
	}
	p := s.pasts.of(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pkg.entry != entry {
		next, err := s.readPackagePast(ctx, r, entry, p.pkg.lines)
		if err != nil {
			return dm.ChangePage{}, repo.Failed(op, fmt.Errorf("history of %s: %w", name, err))
		}
		p.pkg = *next
		s.pasts.resize(r, p, p.pkg.size)
	}
	return p.pkg.page(op, name, page.Before, limit)
}

// page cuts a page out of the history.
func (p *packagePast) page(op string, name dm.PackageName, before dm.Revision, limit int) (dm.ChangePage, error) {
	begin := 0
	if before != "" {
		at := slices.IndexFunc(p.changes, func(c dm.PastChange) bool { return c.Revision == before })
		if at < 0 {
			return dm.ChangePage{}, noChange(op, before, string(name))
		}
		begin = at + 1
	}
	end := min(begin+limit, len(p.changes))
	list := dm.ChangePage{Changes: slices.Clone(p.changes[begin:end])}
	if end < len(p.changes) {
		list.Next = p.changes[end-1].Revision
	}
	return list, nil
}

// packageReader collects a package's history. Lines that were read before are
// taken over.
type packageReader struct {
	objects *repo.Objects
	old     map[plumbing.Hash]packageLine
	packagePast
}

// readPackagePast reads what entry leads to. Refs may be newer than entry, never
// older, because the index follows them.
func (s *Store) readPackagePast(ctx context.Context, r dm.Repository, entry *packageEntry, old map[plumbing.Hash]packageLine) (*packagePast, error) {
	dir := s.data.Path(r)
	ended, err := s.superseded(ctx, dir)
	if err != nil {
		return nil, err
	}
	p := &packageReader{objects: repo.Open(dir), old: old}
	p.entry, p.lines = entry, map[plumbing.Hash]packageLine{}
	if err := p.uploads(ctx, entry.versions, ended); err != nil {
		return nil, err
	}
	for _, o := range entry.outcomes {
		for h := o.tip; !h.IsZero(); {
			line, err := p.line(ctx, h, p.outcome)
			if err != nil {
				return nil, err
			}
			h = line.below
		}
	}
	for _, line := range p.lines {
		p.changes = append(p.changes, line.change)
		p.size += line.size
	}
	slices.SortFunc(p.changes, func(a, b dm.PastChange) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.Revision, a.Revision))
	})
	return &p.packagePast, nil
}

// uploads adds the tags of the published versions and those of superseded. A
// server that was killed may have left a name under refs/superseded for a
// withdrawal that was never made. So of the names that lead to one upload the
// last tells how it ended, and none does while its tag stands.
func (p *packageReader) uploads(ctx context.Context, published []versionEntry, superseded []plumbing.Hash) error {
	stands := map[plumbing.Hash]bool{}
	for _, v := range published {
		stands[v.tag] = true
		if _, err := p.line(ctx, v.tag, p.tag); err != nil {
			return err
		}
	}
	withdrawn := map[plumbing.Hash]packageLine{} // upload → its withdrawal
	for _, h := range superseded {
		line, err := p.line(ctx, h, p.tag)
		switch {
		case err != nil:
			return err
		case line.below.IsZero():
			delete(withdrawn, h)
			continue
		}
		delete(p.lines, h)
		withdrawn[line.below] = line
		if _, err := p.line(ctx, line.below, p.tag); err != nil {
			return err
		}
	}
	for upload, line := range withdrawn {
		if !stands[upload] {
			p.lines[plumbing.NewHash(string(line.change.Revision))] = line
		}
	}
	return nil
}

// line returns the line of an object and adds it to the history.
func (p *packageReader) line(ctx context.Context, h plumbing.Hash, read func(plumbing.Hash) (packageLine, error)) (packageLine, error) {
	if err := ctx.Err(); err != nil {
		return packageLine{}, err
	}
	line, ok := p.old[h]
	if !ok {
		var err error
		if line, err = read(h); err != nil {
			return line, err
		}
	}
	p.lines[h] = line
	return line, nil
}

// tag reads an upload or a withdrawal.
func (p *packageReader) tag(h plumbing.Hash) (packageLine, error) {
	v, gone, err := form.DecodeTag(p.objects, h)
	switch {
	case err != nil:
		return packageLine{}, err
	case gone != nil:
		change := dm.PastChange{Revision: revision(h), Stamp: gone.Stamp, Package: gone.Package}
		return packageLine{change, gone.Upload, lineSize(gone.Reason)}, nil
	}
	change := dm.PastChange{Revision: revision(h), Stamp: v.Stamp, Package: v.File.Ref, Findings: v.Findings}
	return packageLine{change, plumbing.ZeroHash, lineSize(v.Reason, form.FormatList(v.Findings))}, nil
}

// outcome reads a deploy or an undeploy.
func (p *packageReader) outcome(h plumbing.Hash) (packageLine, error) {
	c, err := p.objects.Commit(h)
	if err != nil {
		return packageLine{}, err
	}
	d := form.DecodeDecision(c)
	change := dm.PastChange{
		Revision: revision(h), Stamp: d.Stamp, Package: d.Package,
		Outcome: &dm.Outcome{Phase: d.Phase, Succeeded: d.Phase == dm.Deployed || d.Verb == dm.Undeploy, Information: d.Information, Time: d.Time},
	}
	return packageLine{change, d.Before, lineSize(d.Reason, d.Information)}, nil
}

// superseded lists what refs/superseded names, by version and number. git reads
// them, because it alone knows how to while another git packs refs.
func (s *Store) superseded(ctx context.Context, dir string) ([]plumbing.Hash, error) {
	var out bytes.Buffer
	if err := s.git.Run(ctx, dir, nil, &out, "for-each-ref", "--format=%(objectname) %(refname)", repo.SupersededPrefix); err != nil {
		return nil, err
	}
	type numbered struct {
		version string
		n       int
		hash    plumbing.Hash
	}
	var list []numbered
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		text, ref, _ := strings.Cut(lines.Text(), " ")
		h, err := repo.ParseHash(text, ref)
		if err != nil {
			return nil, err
		}
		version, number, _ := strings.Cut(strings.TrimPrefix(ref, repo.SupersededPrefix), "/")
		n, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("%w: %s", repo.ErrBadRef, ref)
		}
		list = append(list, numbered{version, n, h})
	}
	slices.SortFunc(list, func(a, b numbered) int { return cmp.Or(cmp.Compare(a.version, b.version), cmp.Compare(a.n, b.n)) })
	hashes := make([]plumbing.Hash, len(list))
	for i, l := range list {
		hashes[i] = l.hash
	}
	return hashes, nil
}
