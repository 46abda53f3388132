package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

const op = "archive.Read"

// Limits bound what is read. A zero field means the default.
type Limits struct {
	Wire     int64 // bytes of the body
	Unpacked int64 // bytes of the tar, headers and padding included
	File     int64 // bytes of one file
	Entries  int   // files and directories, also those that only a path implies
}

// DefaultLimits are those of a server that is not configured otherwise.
func DefaultLimits() Limits {
	return Limits{Wire: 1 << 30, Unpacked: 4 << 30, File: 1 << 30, Entries: 20_000}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	if l.Wire <= 0 {
		l.Wire = d.Wire
	}
	if l.Unpacked <= 0 {
		l.Unpacked = d.Unpacked
	}
	if l.File <= 0 {
		l.File = d.File
	}
	if l.Entries <= 0 {
		l.Entries = d.Entries
	}
	return l
}

// Sink takes the files of an archive in its order. path is in normal form C
// and passes dm.CheckPath. r has exactly size bytes or fails; it is valid
// until File returns. An error of File ends Read, which returns it.
type Sink interface {
	File(path string, executable bool, size int64, r io.Reader) error
}

// Result tells of an archive that was read to its end.
type Result struct {
	Top         string   // the single outer directory, "" if there is none
	TopEntries  []string // names at the top level, in byte order
	Files       int
	Directories int   // with those that only a path implies
	Bytes       int64 // of the files' contents
}

// maxFindings is after how many entry faults reading stops.
const maxFindings = 100

// Read reads one archive to the end of body and hands its files to sink. What
// is damaged, unsafe or over a limit is refused; see the package's promises.
//
// Kinds: Invalid, also when body fails, whose error is then the cause;
// TooLarge; Unavailable when ctx has ended; those of sink.
func Read(ctx context.Context, body io.Reader, limits Limits, sink Sink) (Result, error) {
	limits = limits.orDefault()
	s, err := openStream(ctx, body, limits)
	if err != nil {
		return Result{}, err
	}
	r := &reader{s: s, limits: limits, sink: sink, top: map[string]bool{}}
	if err := r.entries(); err != nil {
		return Result{}, err
	}
	if err := s.end(); err != nil {
		return Result{}, err
	}
	if len(r.findings) > 0 {
		return Result{}, r.refusal()
	}
	return r.done(), nil
}

// reader is the state of one Read.
type reader struct {
	s        *stream
	limits   Limits
	sink     Sink
	paths    dm.PathSet
	top      map[string]bool // name → is a directory
	findings []dm.Finding
	result   Result
}

func (r *reader) refusal() error {
	return dm.Refuse(op, "the archive is refused", r.findings)
}

func (r *reader) done() Result {
	r.result.Directories = r.paths.Len() - r.result.Files
	r.result.TopEntries = slices.Sorted(maps.Keys(r.top))
	if len(r.top) == 1 && r.top[r.result.TopEntries[0]] {
		r.result.Top = r.result.TopEntries[0]
	}
	return r.result
}

// entries reads up to the end marker.
func (r *reader) entries() error {
	for {
		h, err := r.s.next()
		if err != nil || h == nil {
			return err
		}
		if err := r.entry(h); err != nil {
			return err
		}
	}
}

// entry judges one entry and passes it on. Once there is a fault the archive
// is lost, and the rest is only judged.
func (r *reader) entry(h *header) error {
	if h.size > r.limits.File {
		return dm.Errorf(dm.TooLarge, op, "the file %q has %d bytes, at most %d are allowed", shown(h.name), h.size, r.limits.File)
	}
	if err := r.s.fits(h); err != nil {
		return err
	}
	path, fault := r.judge(h)
	if r.paths.Len() > r.limits.Entries {
		return dm.Errorf(dm.TooLarge, op, "the archive has more than %d files and directories", r.limits.Entries)
	}
	if fault != "" {
		r.findings = append(r.findings, dm.Finding{Path: shown(h.name), Message: fault})
		if len(r.findings) == maxFindings {
			return r.refusal()
		}
	}
	if h.kind == regular && len(r.findings) == 0 {
		if err := r.file(path, h); err != nil {
			return err
		}
	}
	return r.s.skip(h)
}

func (r *reader) file(path string, h *header) error {
	r.result.Files++
	r.result.Bytes += h.size
	content := &content{s: r.s, left: h.size}
	err := r.sink.File(path, h.mode&0o100 != 0, h.size, content)
	h.read = h.size - content.left
	if content.err != nil {
		return content.err // the sink only knows that its reader failed
	}
	return dm.Wrap(op, err)
}

// judge returns the path under which the entry is known, "" for the root
// directory that some archives name, or what is wrong with the entry.
func (r *reader) judge(h *header) (path, fault string) {
	if h.fault != "" {
		return "", h.fault
	}
	dir := h.kind == directory
	path = strings.TrimPrefix(h.name, "./")
	if dir {
		path = strings.TrimSuffix(path, "/")
		if h.name == "." || h.name == "./" {
			return "", specialBits(h)
		}
	}
	path = dm.NormalPath(path)
	if err := dm.CheckPath(path); err != nil {
		return "", message(err)
	}
	if err := r.paths.Add(path, dir); err != nil {
		return "", message(err)
	}
	first, _, below := strings.Cut(path, "/")
	r.top[first] = dir || below
	return path, specialBits(h)
}

// specialBits refuses modes that ask for another user's rights. The bits that
// repeat the type of the entry, as some Java tools write them, are fine.
func specialBits(h *header) string {
	const setID = 0o7000
	kindBits := int64(0o100000)
	if h.kind == directory {
		kindBits = 0o040000
	}
	if h.mode&setID != 0 {
		return fmt.Sprintf("the mode %04o has a setuid, setgid or sticky bit", h.mode&0o7777)
	}
	if rest := h.mode &^ 0o777; rest != 0 && rest != kindBits {
		return fmt.Sprintf("the mode %o has bits that are not permissions", h.mode)
	}
	return ""
}

// message is the sentence of an error of the root package.
func message(err error) string {
	var e *dm.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

// shown makes a name from an archive safe to print: what is not printable is
// escaped, and the end of a long name cut.
func shown(name string) string {
	const most = 200
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	quoted := fmt.Sprintf("%q", name)
	return quoted[1 : len(quoted)-1]
}

// content is the reader of one file.
type content struct {
	s    *stream
	left int64
	err  error
}

func (c *content) Read(p []byte) (int, error) {
	switch {
	case c.err != nil:
		return 0, c.err
	case c.left == 0:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	n, err := c.s.unpacked.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if err != nil && (c.left > 0 || !errors.Is(err, io.EOF)) {
		c.err = c.s.fault(err)
	}
	return n, c.err
}
