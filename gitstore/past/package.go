package past

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
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// packagePast is the history of all versions of one package.
type packagePast struct {
	state   any // that it was read in
	lines   map[plumbing.Hash]packageLine
	changes []dm.PastChange // newest first
	size    int
}

// packageTips are what the history of a package is read from.
type packageTips struct {
	State    any             // another one tells of a change
	Tags     []plumbing.Hash // of the versions that are published
	Outcomes []plumbing.Hash // tips of refs/deployed
}

// packageLine is one tag, or one commit of refs/deployed.
type packageLine struct {
	change dm.PastChange
	below  plumbing.Hash // the outcome before, or the tag that a withdrawal is around
	size   int
}

// page cuts a page out of the history.
func (p *packagePast) page(op string, name dm.PackageName, page dm.Page) (dm.ChangePage, error) {
	limit, err := pageLimit(op, page.Limit)
	if err != nil {
		return dm.ChangePage{}, err
	}
	begin := 0
	if page.Before != "" {
		at := slices.IndexFunc(p.changes, func(c dm.PastChange) bool { return c.Revision == page.Before })
		if at < 0 {
			return dm.ChangePage{}, noChange(op, page.Before, string(name))
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

// readPackage reads what tips lead to. Refs may be newer than these, never older,
// because the index follows them.
func readPackage(ctx context.Context, git *gitcmd.Git, dir string, tips packageTips, old map[plumbing.Hash]packageLine) (*packagePast, error) {
	ended, err := superseded(ctx, git, dir)
	if err != nil {
		return nil, err
	}
	p := &packageReader{objects: repo.Open(dir), old: old}
	p.state, p.lines = tips.State, map[plumbing.Hash]packageLine{}
	if err := p.uploads(ctx, tips.Tags, ended); err != nil {
		return nil, err
	}
	for _, h := range tips.Outcomes {
		for !h.IsZero() {
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
func (p *packageReader) uploads(ctx context.Context, published, superseded []plumbing.Hash) error {
	stands := map[plumbing.Hash]bool{}
	for _, h := range published {
		stands[h] = true
		if _, err := p.line(ctx, h, p.tag); err != nil {
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
		change := dm.PastChange{Revision: repo.Revision(h), Stamp: gone.Stamp, Package: gone.Package}
		return packageLine{change, gone.Upload, lineSize(gone.Reason)}, nil
	}
	change := dm.PastChange{Revision: repo.Revision(h), Stamp: v.Stamp, Package: v.File.Ref, Findings: v.Findings}
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
		Revision: repo.Revision(h), Stamp: d.Stamp, Package: d.Package,
		Outcome: &dm.Outcome{Phase: d.Phase, Succeeded: d.Phase == dm.Deployed || d.Verb == dm.Undeploy, Information: d.Information, Time: d.Time},
	}
	return packageLine{change, d.Before, lineSize(d.Reason, d.Information)}, nil
}

// superseded lists what refs/superseded names, by version and number. git reads
// them, because it alone knows how to while another git packs refs.
func superseded(ctx context.Context, git *gitcmd.Git, dir string) ([]plumbing.Hash, error) {
	var out bytes.Buffer
	if err := git.Run(ctx, dir, nil, &out, "for-each-ref", "--format=%(objectname) %(refname)", repo.SupersededPrefix); err != nil {
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
