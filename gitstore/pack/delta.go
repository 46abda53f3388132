package pack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/klauspost/compress/zlib"

	dm "github.com/pndaproject/deployment-manager"
)

// What a Reader does for objects that are stored as differences. One pack can
// have very many, each from the one before, so that to make them all costs more
// than anybody should ask for.
const (
	mostKept  = 16 << 20 // bytes of contents that are remembered
	mostWork  = 4 << 30  // bytes that are made in all
	mostSteps = 4096     // from an object to the one that is whole
)

// place is where an entry begins.
type place struct {
	pack *openPack
	at   int64
}

// entry is an entry of a pack with the data of it.
type entry struct {
	place
	kind plumbing.ObjectType
	size int64 // of the content, or of the data of a difference
	zlib *io.SectionReader
	base place // of a difference
}

// errMuch tells that an object is not for a Reader to make.
var errMuch = errors.New("the object is too large, or its delta chain too long")

// Stat tells the type and the size in bytes of an object. ok is false when it is
// not there, or too many differences away from what is.
func (r *Reader) Stat(h plumbing.Hash) (kind plumbing.ObjectType, size int64, ok bool, err error) {
	chain, err := r.chain(h)
	if err != nil || len(chain) == 0 {
		return 0, 0, false, known("pack.Stat", err)
	}
	size = chain[0].size
	if chain[0].kind.IsDelta() {
		z, err := zlib.NewReader(chain[0].zlib)
		if err == nil {
			size, err = ResultSize(z)
		}
		if err != nil {
			return 0, 0, false, dm.Wrap("pack.Stat", err)
		}
	}
	return chain[len(chain)-1].kind, size, true, nil
}

// Content reads an object whole, also one that is stored as a difference. ok is
// false when it is not there, or when it, or what it is made of, has more than
// limit bytes.
func (r *Reader) Content(h plumbing.Hash, limit int64) (content []byte, ok bool, err error) {
	chain, err := r.chain(h)
	if err == nil && len(chain) > 0 {
		content, err = r.make(chain, limit)
		ok = err == nil
	}
	return content, ok, known("pack.Content", err)
}

// known leaves out what is told by ok.
func known(op string, err error) error {
	if errors.Is(err, errMuch) {
		return nil
	}
	return dm.Wrap(op, err)
}

// chain returns the entry of an object, then those that it differs from; nothing
// when the object is not there.
func (r *Reader) chain(h plumbing.Hash) (chain []entry, err error) {
	at, ok, err := r.locate(h)
	for ok && err == nil {
		var e entry
		if e, err = at.read(r); err != nil {
			break
		}
		if chain = append(chain, e); !e.kind.IsDelta() {
			return chain, nil
		}
		if at = e.base; len(chain) == mostSteps {
			err = errMuch
		}
	}
	return nil, err
}

// locate finds where an object begins.
func (r *Reader) locate(h plumbing.Hash) (place, bool, error) {
	for _, p := range r.packs {
		number, found, err := p.find(h)
		if err != nil || !found {
			continue
		}
		at, err := p.offset(number)
		return place{p, at}, true, err
	}
	return place{}, false, nil
}

// read reads the head of the entry and names its base.
func (l place) read(r *Reader) (e entry, err error) {
	end, err := l.pack.end(l.at)
	if err != nil {
		return e, err
	}
	head := make([]byte, min(64, max(0, end-l.at)))
	if _, err := l.pack.file.ReadAt(head, l.at); err != nil {
		return e, fmt.Errorf("read pack: %w", err)
	}
	kind, size, used, err := entryHeader(head)
	if err != nil {
		return e, err
	}
	e = entry{place: l, kind: kind, size: size}
	rest := head[used:]
	switch {
	case kind == plumbing.REFDeltaObject && len(rest) >= TrailerSize:
		var name plumbing.Hash
		used += copy(name[:], rest)
		base, ok, err := r.locate(name)
		if err != nil || !ok {
			return e, errors.Join(errMuch, err)
		}
		e.base = base
	case kind == plumbing.OFSDeltaObject:
		back, n := baseOffset(rest)
		if n == 0 || back <= 0 || back > l.at {
			return e, errors.New("read pack: malformed delta base")
		}
		used += n
		e.base = place{l.pack, l.at - back}
	case kind.IsDelta() || kind < plumbing.CommitObject || kind > plumbing.TagObject:
		return e, fmt.Errorf("read pack: an entry has the type %d", kind)
	}
	begin := l.at + int64(used)
	e.zlib = io.NewSectionReader(l.pack.file, begin, end-begin)
	return e, nil
}

// baseOffset reads how far back a base is; n is 0 when that can't be read.
func baseOffset(b []byte) (back int64, n int) {
	for i, c := range b {
		if i > 0 {
			back++
		}
		if back = back<<7 | int64(c&0x7f); back < 0 || i > 8 {
			return 0, 0
		}
		if c < 0x80 {
			return back, i + 1
		}
	}
	return 0, 0
}

// make makes the content of the first entry of a chain.
func (r *Reader) make(chain []entry, limit int64) ([]byte, error) {
	last := len(chain) - 1
	var content []byte
	for i := range chain { // from the nearest that is remembered
		if made, ok := r.made[chain[i].place]; ok {
			last, content = i, made
			break
		}
	}
	if content == nil {
		var err error
		if content, err = chain[last].inflate(limit); err != nil {
			return nil, err
		}
		r.keep(chain[last].place, content, last > 0)
	}
	for i := last - 1; i >= 0; i-- {
		delta, err := chain[i].inflate(limit)
		if err != nil {
			return nil, err
		}
		size, err := ResultSize(bytes.NewReader(delta))
		if err != nil {
			return nil, err
		}
		if r.work += size; size > limit || r.work > mostWork {
			return nil, errMuch
		}
		if content, err = packfile.PatchDelta(content, delta); err != nil {
			return nil, fmt.Errorf("read pack: %w", err)
		}
		r.keep(chain[i].place, content, true)
	}
	if int64(len(content)) > limit {
		return nil, errMuch
	}
	return content, nil
}

// keep remembers what others may differ from.
func (r *Reader) keep(at place, content []byte, base bool) {
	if !base || r.kept+int64(len(content)) > mostKept {
		return
	}
	if r.made == nil {
		r.made = map[place][]byte{}
	}
	r.made[at] = content
	r.kept += int64(len(content))
}

// inflate reads the data of an entry.
func (e entry) inflate(limit int64) ([]byte, error) {
	if e.size > limit {
		return nil, errMuch
	}
	z, err := zlib.NewReader(e.zlib)
	if err != nil {
		return nil, err
	}
	data := make([]byte, e.size)
	if _, err := io.ReadFull(z, data); err != nil {
		return nil, fmt.Errorf("inflate: %w", NoEnd(err))
	}
	return data, nil
}

// ResultSize reads the two sizes that the data of a difference begins with, and
// returns the second, that of what it makes.
func ResultSize(r io.Reader) (size int64, err error) {
	bytes := oneByOne{r: r}
	for range 2 {
		n, err := binary.ReadUvarint(&bytes)
		if err != nil {
			return 0, NoEnd(err)
		}
		if size = int64(n); size < 0 {
			return 0, errors.New("delta size too large")
		}
	}
	return size, nil
}

// NoEnd makes the end of the pack an error where something had to come.
func NoEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

type oneByOne struct {
	r io.Reader
	b [1]byte
}

func (o *oneByOne) ReadByte() (byte, error) {
	_, err := io.ReadFull(o.r, o.b[:])
	return o.b[0], err
}
