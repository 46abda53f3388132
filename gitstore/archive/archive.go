package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf8"

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

// NoLimits are for an archive that was accepted once: the limits of uploads may
// have been higher then. What is read is still never held in memory as a whole.
func NoLimits() Limits {
	return Limits{Wire: 1 << 62, Unpacked: 1 << 62, File: 1 << 62, Entries: math.MaxInt}
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
	Top         string   // the single outer directory, "" if there is none; see dm.Beside for what does not count beside it
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
	r := &reader{s: s, judge: NewJudge(limits), sink: sink}
	if err := r.entries(); err != nil {
		return Result{}, err
	}
	if err := s.end(); err != nil {
		return Result{}, err
	}
	if err := r.judge.Refusal(); err != nil {
		return Result{}, r.hinted(err)
	}
	return r.done(), nil
}

// reader is the state of one Read.
type reader struct {
	s      *stream
	judge  *Judge
	sink   Sink
	links  bool // there was one
	result Result
}

// hinted says what to do about links. With -h alone tar writes the second name
// of a file as a hard link.
func (r *reader) hinted(err error) error {
	var e *dm.Error
	if r.links && errors.As(err, &e) && e.Kind == dm.Invalid {
		e.Hint = "tar -h --hard-dereference -czf … replaces links with files"
	}
	return err
}

func (r *reader) done() Result {
	r.result.Directories = r.judge.paths.Len() - r.result.Files
	r.result.TopEntries, r.result.Top = r.judge.topEntries()
	return r.result
}

// entries reads up to the end marker.
func (r *reader) entries() error {
	for {
		h, err := r.s.next()
		if err != nil || h == nil {
			return r.s.placed(err)
		}
		if err := r.entry(h); err != nil {
			return err
		}
	}
}

// entry judges one entry and passes it on. Once there is a fault the archive
// is lost, and the rest is only judged.
func (r *reader) entry(h *header) error {
	r.links = r.links || h.fault == hardLink || h.fault == SymbolicLink
	path, err := r.judge.Entry(Entry{Name: h.name, Directory: h.kind == directory, Mode: h.mode, Size: h.size, Fault: h.fault})
	if err != nil {
		return r.hinted(err)
	}
	if err := r.s.fits(h); err != nil {
		return err
	}
	if h.kind == regular && len(r.judge.findings) == 0 {
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

// shown makes a name from an archive safe to print: what is not printable is
// escaped, and the end of a long name cut.
func shown(name string) string {
	const most = 200
	if len(name) > most {
		end := most
		for end > most-utf8.UTFMax && !utf8.RuneStart(name[end]) {
			end--
		}
		name = name[:end] + "…"
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
