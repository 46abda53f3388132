package receive

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// packed is an entry as it stands in a pack: claimed is the size that its header
// tells.
func packed(t plumbing.ObjectType, claimed int64, content []byte) []byte {
	b := bytes.NewBuffer(pack.AppendEntryHeader(nil, t, claimed))
	switch t {
	case plumbing.REFDeltaObject:
		b.Write(make([]byte, 20))
	case plumbing.OFSDeltaObject:
		b.Write([]byte{0x81, 0x02})
	}
	z, _ := zlib.NewWriterLevel(b, zlib.BestSpeed)
	_, _ = z.Write(content)
	_ = z.Close()
	return b.Bytes()
}

func honest(t plumbing.ObjectType, content []byte) []byte {
	return packed(t, int64(len(content)), content)
}

// deltaOf makes result bytes, by its word.
func deltaOf(result uint64) []byte {
	return append(binary.AppendUvarint(binary.AppendUvarint(nil, 10), result), 0x91, 0, 5)
}

func packOf(count uint32, entries ...[]byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), count)
	b = append(b, bytes.Join(entries, nil)...)
	sum := sha1.Sum(b)
	return append(b, sum[:]...)
}

func TestCount(t *testing.T) {
	t.Parallel()
	most := expansion{Object: 1000, All: 2500, Objects: 5}
	blob := func(n int) []byte { return honest(plumbing.BlobObject, bytes.Repeat([]byte("x"), n)) }
	big := int64(1) << 40
	for _, c := range []struct {
		name string
		pack []byte
		kind dm.Kind
		word string
	}{
		{"nothing", packOf(0), "", ""},
		{"each kind", packOf(4, blob(1000), honest(plumbing.TreeObject, []byte("t")), honest(plumbing.CommitObject, nil), honest(plumbing.TagObject, []byte("x"))), "", ""},
		{"a difference by name", packOf(2, blob(10), honest(plumbing.REFDeltaObject, deltaOf(900))), "", ""},
		{"a difference by place", packOf(2, blob(10), honest(plumbing.OFSDeltaObject, deltaOf(900))), "", ""},
		{"the limit", packOf(3, blob(1000), blob(1000), blob(500)), "", ""},
		{"one byte over in one", packOf(1, blob(1001)), dm.TooLarge, "a file or other object of the push has 1001 bytes, at most 1000 are allowed"},
		{"one byte over in all", packOf(3, blob(1000), blob(1000), blob(501)), dm.TooLarge, "the push has more than 2500 bytes when unpacked; push without the history, from a clone made with --depth 1"},
		{"a tree", packOf(1, honest(plumbing.TreeObject, make([]byte, 1001))), dm.TooLarge, "1001 bytes"},
		{"what a difference makes", packOf(1, honest(plumbing.REFDeltaObject, deltaOf(1001))), dm.TooLarge, "1001 bytes"},
		{"what many differences make", packOf(4, blob(10), honest(plumbing.OFSDeltaObject, deltaOf(900)), honest(plumbing.OFSDeltaObject, deltaOf(900)), honest(plumbing.OFSDeltaObject, deltaOf(900))), dm.TooLarge, "more than 2500"},
		{"a huge claim", packOf(1, packed(plumbing.BlobObject, big, nil)), dm.TooLarge, "1099511627776 bytes"},
		{"the data of a difference", packOf(1, packed(plumbing.REFDeltaObject, 1001, deltaOf(5))), dm.TooLarge, "1001 bytes"},
		{"too many", packOf(6), dm.TooLarge, "the push has 6 objects, at most 5 are allowed"},
		{"more than it claims", packOf(1, packed(plumbing.BlobObject, 10, make([]byte, 5000))), dm.Invalid, ""},
		{"less than it claims", packOf(1, packed(plumbing.BlobObject, 10, make([]byte, 5))), dm.Invalid, ""},
		{"a difference without sizes", packOf(1, honest(plumbing.OFSDeltaObject, nil)), dm.Invalid, ""},
		{"a difference with an endless size", packOf(1, honest(plumbing.OFSDeltaObject, bytes.Repeat([]byte{0xff}, 30))), dm.Invalid, ""},
		{"a type that is none", packOf(1, packed(plumbing.ObjectType(5), 0, nil)), dm.Invalid, ""},
		{"an endless size", append([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x01"), bytes.Repeat([]byte{0xff}, 30)...), dm.Invalid, ""},
		{"no pack", []byte("PUCK and so on, for a while"), dm.Invalid, ""},
		{"cut in an entry", packOf(1, blob(900))[:20], dm.Invalid, ""},
		{"cut before an entry", packOf(2, blob(900)), dm.Invalid, ""},
	} {
		var passed bytes.Buffer
		_, err := io.Copy(&passed, count(bytes.NewReader(c.pack), most))
		if dm.KindOf(err) != c.kind || c.word != "" && !strings.Contains(dm.Public(err), c.word) {
			t.Errorf("%s: %v, want kind %q with %q", c.name, err, c.kind, c.word)
		}
		if c.kind == "" && !bytes.Equal(passed.Bytes(), c.pack) {
			t.Errorf("%s: %d of %d bytes were passed on", c.name, passed.Len(), len(c.pack))
		}
	}
}

// TestCountStopsAtTheFirstByteOver takes no more of a bomb than it needs.
func TestCountStopsAtTheFirstByteOver(t *testing.T) {
	t.Parallel()
	const each = 1 << 20
	entry := honest(plumbing.BlobObject, make([]byte, each)) // about 5 kB
	rest := &bytesLeft{Reader: bytes.NewReader(packOf(4000, bytes.Repeat(entry, 4000)))}
	n, err := io.Copy(io.Discard, count(rest, expansion{Object: each, All: 10 * each, Objects: 5000}))
	if dm.KindOf(err) != dm.TooLarge || n > int64(12*len(entry))+32<<10 {
		t.Errorf("%d bytes passed, %v; want about %d and TooLarge", n, err, 10*len(entry))
	}
}

type bytesLeft struct{ *bytes.Reader }

func (b *bytesLeft) WriteTo(io.Writer) (int64, error) { panic("read it piece by piece") }

// TestCountPassesOnWhatHasArrived must not hold back what git waits for.
func TestCountPassesOnWhatHasArrived(t *testing.T) {
	t.Parallel()
	content := packOf(1, honest(plumbing.BlobObject, []byte("x")))
	in, client := io.Pipe()
	out, git := io.Pipe()
	go func() {
		_, err := io.Copy(git, count(in, expansion{Object: 10, All: 10, Objects: 10}))
		_ = git.CloseWithError(err)
	}()
	for _, b := range content {
		go func() { _, _ = client.Write([]byte{b}) }()
		var got [1]byte
		if _, err := io.ReadFull(out, got[:]); err != nil || got[0] != b {
			t.Fatalf("got %x, %v, want %x", got, err, b)
		}
	}
	_ = client.Close()
	if _, err := out.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
}

func TestCountTellsOfAGitThatIsGone(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	in, out := io.Pipe()
	_ = in.CloseWithError(gone)
	if _, err := io.Copy(out, count(bytes.NewReader(packOf(0)), expansion{})); !errors.Is(err, gone) {
		t.Errorf("%v, want %v", err, gone)
	}
}

// FuzzCount looks for packs that are passed on although they expand over a
// limit, and for panics.
func FuzzCount(f *testing.F) {
	blob := honest(plumbing.BlobObject, []byte("hello"))
	f.Add(packOf(1, blob))
	f.Add(packOf(2, blob, honest(plumbing.OFSDeltaObject, deltaOf(9))))
	f.Add(packOf(2, blob, honest(plumbing.REFDeltaObject, deltaOf(1<<40))))
	f.Add(packOf(1, packed(plumbing.TreeObject, 1<<50, nil)))
	f.Fuzz(func(t *testing.T, pack []byte) {
		var passed bytes.Buffer
		n, err := io.Copy(&passed, count(bytes.NewReader(pack), expansion{Object: 100, All: 200, Objects: 4}))
		if n != int64(passed.Len()) || !bytes.HasPrefix(pack, passed.Bytes()) {
			t.Errorf("%d bytes passed, %d told", passed.Len(), n)
		}
		if err != nil && dm.KindOf(err) != dm.TooLarge && dm.KindOf(err) != dm.Invalid {
			t.Errorf("kind %q of %v", dm.KindOf(err), err)
		}
		if err == nil && !bytes.Equal(passed.Bytes(), pack) {
			t.Error("a part is missing")
		}
	})
}
