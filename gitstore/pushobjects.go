package gitstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// Limits of one push to an application, whose commits become part of the
// record; and of any single commit and tag.
const (
	maxProposedObjects = 10_000
	maxProposedBytes   = 64 << 20
	maxProposedPaths   = 200_000 // entries of trees, and paths of commits, that are looked at
	maxHeadBytes       = 256 << 10
	maxTreeBytes       = 4 << 20
	maxTagDepth        = 5
)

// pushedObjects reads what a push brought and what it builds on, by git alone:
// go-git is kept from objects that nobody has checked.
type pushedObjects struct {
	git *gitcmd.Git
	dir string
}

// read returns one object of at most limit bytes.
func (o pushedObjects) read(ctx context.Context, id string, limit int64) (kind string, content []byte, err error) {
	err = o.git.CatObjects(ctx, o.dir, slices.Values([]string{id}), func(_, k string, size int64, r io.Reader) error {
		kind = k
		if size > limit {
			return dm.Errorf(dm.TooLarge, "gitstore.push", "the %s %s has %d bytes, at most %d are allowed", k, id, size, limit)
		}
		content, err = io.ReadAll(r)
		return err
	})
	return kind, content, err
}

// pushedCommit is a commit with its tree.
type pushedCommit struct {
	id   string
	tree string
}

// peel follows annotated tags to a commit. Their headers are judged on the way.
func (o pushedObjects) peel(ctx context.Context, id string) (pushedCommit, error) {
	const op = "gitstore.push"
	for range maxTagDepth {
		kind, content, err := o.read(ctx, id, maxHeadBytes)
		if err != nil {
			return pushedCommit{}, err
		}
		if kind != "commit" && kind != "tag" {
			return pushedCommit{}, dm.Errorf(dm.Invalid, op, "a %s cannot be published, only a commit or a tag of one", kind)
		}
		fields, err := parseHead(kind, id, content)
		if err != nil {
			return pushedCommit{}, err
		}
		if kind == "commit" {
			return pushedCommit{id: id, tree: fields["tree"]}, nil
		}
		id = fields["object"]
	}
	return pushedCommit{}, dm.Errorf(dm.Invalid, op, "tags nested more than %d deep", maxTagDepth)
}

// headFields are the fields that a commit or a tag has once.
var headFields = map[string][]string{
	"commit": {"tree", "author", "committer"},
	"tag":    {"object", "type", "tag", "tagger"},
}

// parseHead reads the header of a commit or a tag and refuses what programs read
// in different ways: fields that are there twice, and control characters, which
// a terminal may obey. git's own check lets both through.
func parseHead(kind, id string, content []byte) (map[string]string, error) {
	const op = "gitstore.push"
	fault := func(format string, args ...any) error {
		return dm.Errorf(dm.Invalid, op, "the %s %.12s is refused: %s", kind, id, fmt.Sprintf(format, args...))
	}
	if at := controlIn(content); at >= 0 {
		r, _ := utf8.DecodeRune(content[at:])
		return nil, fault("it contains the control character %U at byte %d", r, at)
	}
	head, _, _ := bytes.Cut(content, []byte("\n\n"))
	if bytes.IndexByte(head, '\r') >= 0 {
		return nil, fault("its header contains a carriage return")
	}
	fields := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(head), "\n"), "\n") {
		key, value, ok := strings.Cut(line, " ")
		switch {
		case key == "" && ok: // goes on with the field before, as signatures do
			continue
		case !ok || !slices.Contains(headKeys[kind], key):
			return nil, fault("its header has the unknown field %q", firstBytes(key))
		}
		if _, twice := fields[key]; twice && key != "parent" && key != "mergetag" {
			return nil, fault("its header has the duplicate field %q", key)
		}
		fields[key] = value
	}
	for _, key := range headFields[kind] {
		if fields[key] == "" {
			return nil, fault("its header has no field %q", key)
		}
	}
	switch encoding := strings.ToLower(fields["encoding"]); {
	case encoding == "", encoding == "utf-8", encoding == "utf8":
	case !strings.HasPrefix(encoding, "iso-8859-") && encoding != "latin1":
		// Others, such as UTF-7, write control characters in plain letters.
		return nil, fault("its encoding is %q; UTF-8 and ISO-8859 are allowed", firstBytes(encoding))
	case slices.ContainsFunc(content, func(b byte) bool { return 0x80 <= b && b < 0xa0 }):
		return nil, fault("it contains a control character of its encoding")
	}
	return fields, nil
}

// controlIn returns the place of the first control character, or -1. Line ends
// and tabs are none here.
func controlIn(content []byte) int {
	return bytes.IndexFunc(content, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' })
}

// headKeys are the fields that git and the programs around it write.
var headKeys = map[string][]string{
	"commit": {"tree", "parent", "author", "committer", "encoding", "gpgsig", "gpgsig-sha256", "mergetag", "change-id"},
	"tag":    {"object", "type", "tag", "tagger", "gpgsig", "gpgsig-sha256", "encoding"},
}

// firstBytes keeps a message short.
func firstBytes(s string) string { return s[:min(len(s), 60)] }

// newObject is an object that a push adds to the record.
type newObject struct {
	kind string
	id   string
	size int64
}

// brought is what a push to an application would add to its record.
type brought struct {
	objects []newObject
	trees   map[string][]treeLine // the new ones
	sizes   map[string]int64      // of the new blobs
	judged  map[string]bool       // new trees by path and name
	looked  int                   // entries and paths that were looked at
}

// gather lists what commit leads to and the record, up to main, does not have.
func (o pushedObjects) gather(ctx context.Context, commit string, main plumbing.Hash) (*brought, error) {
	const op = "gitstore.push"
	var not []string
	if !main.IsZero() {
		not = append(not, main.String())
	}
	p := &brought{trees: map[string][]treeLine{}, sizes: map[string]int64{}, judged: map[string]bool{}}
	total := int64(0)
	err := o.git.NewObjects(ctx, o.dir, []string{commit}, not, func(kind, id string, size int64) error {
		p.objects = append(p.objects, newObject{kind, id, size})
		total += size
		switch limit := map[string]int64{"commit": maxHeadBytes, "tree": maxTreeBytes}[kind]; {
		case limit > 0 && size > limit:
			return dm.Errorf(dm.TooLarge, op, "the %s %.12s has %d bytes, at most %d are allowed", kind, id, size, limit)
		case len(p.objects) > maxProposedObjects:
			return dm.Errorf(dm.TooLarge, op, "the push has more than %d objects", maxProposedObjects)
		case total > maxProposedBytes:
			return dm.Errorf(dm.TooLarge, op, "the objects of the push have more than %d bytes", maxProposedBytes)
		}
		if kind == "blob" {
			p.sizes[id] = size
		}
		return nil
	})
	return p, err
}

// of iterates over the names of the objects of some kinds.
func (p *brought) of(kinds ...string) []string {
	var ids []string
	for _, object := range p.objects {
		if slices.Contains(kinds, object.kind) {
			ids = append(ids, object.id)
		}
	}
	return ids
}

// check judges every commit and every tree that would become part of the
// record, in its history too: whoever clones gets all of it.
func (p *brought) check(ctx context.Context, o pushedObjects, limits archive.Limits) error {
	roots := map[string]string{} // tree → a commit that has it
	err := o.git.CatObjects(ctx, o.dir, slices.Values(p.of("commit", "tree")), func(id, kind string, _ int64, r io.Reader) error {
		content, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if kind == "tree" {
			if p.trees[id], err = parseTree(id, content); err == nil {
				err = p.look(len(p.trees[id]))
			}
			return err
		}
		fields, err := parseHead(kind, id, content)
		roots[fields["tree"]] = id
		return err
	})
	if err != nil {
		return err
	}
	for _, root := range slices.Sorted(maps.Keys(roots)) {
		judge := archive.NewJudge(limits)
		err := p.checkTree(judge, "", root)
		if err == nil {
			err = judge.Refusal()
		}
		if err != nil {
			return ofCommit(roots[root], err)
		}
	}
	return nil
}

// ofCommit names the commit that is refused: it need not be the last one.
func ofCommit(commit string, err error) error {
	var refusal *dm.Error
	if !errors.As(err, &refusal) || len(refusal.Findings) == 0 {
		return err
	}
	return dm.Refuse("gitstore.push", fmt.Sprintf("the commit %.12s is refused", commit), refusal.Findings).
		WithHint("every pushed commit stays in the history: 'git reset --soft origin/main', fix it, and commit again")
}

// look counts n entries more and tells when there are too many: a small pack
// can hold thousands of commits with all the paths that one of them may have.
func (p *brought) look(n int) error {
	if p.looked += n; p.looked > maxProposedPaths {
		return dm.Errorf(dm.TooLarge, "gitstore.push", "the commits of the push have more than %d files and directories", maxProposedPaths)
	}
	return nil
}

// checkTree judges the entries of a new tree and of the new trees below it.
// What stands in the record already was judged when it came, and what stands at
// the same place in another commit was judged with that.
func (p *brought) checkTree(judge *archive.Judge, prefix, id string) error {
	place := prefix + "\x00" + id
	if p.judged[place] {
		return nil
	}
	p.judged[place] = true
	if err := p.look(len(p.trees[id])); err != nil {
		return err
	}
	for _, line := range p.trees[id] {
		name := prefix + line.name
		entry := entryOf(line.mode, name, p.sizes[line.id])
		if entry.Fault == "" && dm.NormalPath(name) != name {
			entry.Fault = "it is not in Unicode normal form C"
		}
		path, err := judge.Entry(entry)
		if err == nil && path != "" && entry.Directory {
			err = p.checkTree(judge, name+"/", line.id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// entryOf is an entry of a tree in the words of an archive.
func entryOf(mode, path string, size int64) archive.Entry {
	switch mode {
	case "40000", "040000":
		return archive.Entry{Name: path, Directory: true, Mode: 0o755}
	case "100644":
		return archive.Entry{Name: path, Mode: 0o644, Size: size}
	case "100755":
		return archive.Entry{Name: path, Mode: 0o755, Size: size}
	case "120000":
		return archive.Entry{Name: path, Fault: archive.SymbolicLink}
	case "160000":
		return archive.Entry{Name: path, Fault: archive.Submodule}
	}
	return archive.Entry{Name: path, Fault: fmt.Sprintf("it has the mode %.20q; only files and directories are allowed", mode)}
}

// copyTo returns what adds the objects to a pack of the record.
func (p *brought) copyTo(ctx context.Context, o pushedObjects) func(*pack.Writer) error {
	return func(w *pack.Writer) error {
		return o.git.CatObjects(ctx, o.dir, slices.Values(p.of("commit", "tree", "blob")), func(_, kind string, size int64, r io.Reader) error {
			if kind == "blob" {
				_, err := w.Blob(size, r)
				return err
			}
			content, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			_, err = w.Add(map[string]plumbing.ObjectType{"commit": plumbing.CommitObject, "tree": plumbing.TreeObject}[kind], content)
			return err
		})
	}
}

// treeLine is one entry of a tree.
type treeLine struct {
	mode string // octal, as git writes it
	name string
	id   string
}

// parseTree reads the entries of a tree object.
func parseTree(id string, content []byte) ([]treeLine, error) {
	var lines []treeLine
	for len(content) > 0 {
		mode, rest, ok := bytes.Cut(content, []byte(" "))
		name, rest, named := bytes.Cut(rest, []byte{0})
		if !ok || !named || len(rest) < 20 {
			return nil, dm.Errorf(dm.Invalid, "gitstore.push", "the tree %.12s cannot be read", id)
		}
		if part := string(name); part == "" || part == "." || part == ".." || strings.Contains(part, "/") {
			return nil, dm.Errorf(dm.Invalid, "gitstore.push", "the tree %.12s has an entry %q", id, firstBytes(part))
		}
		var hash plumbing.Hash
		copy(hash[:], rest)
		lines = append(lines, treeLine{string(mode), string(name), hash.String()})
		content = rest[20:]
	}
	return lines, nil
}

// errNotFound tells that a pushed tree has no such file.
var errNotFound = errors.New("no such file")

// file reads one small file at the top of a tree.
func (o pushedObjects) file(ctx context.Context, tree, name string, limit int64) ([]byte, error) {
	_, content, err := o.read(ctx, tree, maxTreeBytes)
	if err != nil {
		return nil, err
	}
	lines, err := parseTree(tree, content)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		if line.name == name && strings.HasPrefix(line.mode, "100") {
			_, content, err := o.read(ctx, line.id, limit)
			return content, err
		}
	}
	return nil, errNotFound
}
