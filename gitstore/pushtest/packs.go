package pushtest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Packs are pushes whose packs can't be unpacked or must not be.
func Packs() []Case { return slices.Concat(brokenPacks(), brokenItems(), deltas()) }

// withPack is a push of a good commit in a pack of one's own making.
func withPack(name, text string, make func(t Target, good []Item) []byte) Case {
	return Case{Name: "pack/" + name, Text: text, Body: func(t Target) []byte {
		objects := t.good("A commit.\n")
		return t.send(objects[len(objects)-1].ID(), make(t, itemsOf(objects)))
	}}
}

func brokenPacks() []Case {
	whole := func(change func(pack []byte) []byte) func(Target, []Item) []byte {
		return func(_ Target, good []Item) []byte { return change(Pack(good...)) }
	}
	saying := func(version uint32, more int) func(Target, []Item) []byte {
		return func(_ Target, good []Item) []byte { return packSaying(version, uint32(len(good)+more), good...) }
	}
	return []Case{
		withPack("none", "", whole(func([]byte) []byte { return nil })),
		withPack("only its magic", "", whole(func(b []byte) []byte { return b[:4] })),
		withPack("other magic", "", whole(func(b []byte) []byte { b[0] = 'p'; return b })),
		withPack("wrong checksum", "", whole(func(b []byte) []byte { b[len(b)-1] ^= 1; return b })),
		withPack("no checksum", "", whole(func(b []byte) []byte { return b[:len(b)-20] })),
		withPack("cut off in an object", "", whole(func(b []byte) []byte { return b[:60] })),
		withPack("version 1", "", saying(1, 0)),
		withPack("version 4", "", saying(4, 0)),
		withPack("one object too few", "", saying(2, 1)),
		withPack("one object too many", "", saying(2, -1)),
		withPack("4 billion objects", "", func(_ Target, good []Item) []byte { return packSaying(2, 1<<32-1, good...) }),
		withPack("no objects", "", func(Target, []Item) []byte { return Pack() }),
		{Name: "pack/without the tree", Body: func(t Target) []byte {
			b := BlobOf("x")
			top := t.top(File("never sent", b))
			commit := CommitOf(top[1].ID(), "A commit.\n", t.Old)
			return t.send(commit.ID(), Pack(itemsOf([]Object{b, top[0], commit})...))
		}},
		withPack("without the commit", "", func(_ Target, good []Item) []byte { return Pack(good[:2]...) }),
		withPack("an object twice", "", func(_ Target, good []Item) []byte { return Pack(append(good, good[0])...) }),
		withPack("a bundle", "", whole(func(b []byte) []byte { return append([]byte("# v2 git bundle\n\n"), b...) })),
	}
}

func brokenItems() []Case {
	more := func(name, text string, item Item) Case {
		return withPack(name, text, func(_ Target, good []Item) []byte { return Pack(append(good, item)...) })
	}
	text := []byte("some content")
	stream := deflate(text)
	return []Case{
		more("type 0", "", Item{Type: 0, Size: 12, Stream: stream}),
		more("type 5", "", Item{Type: 5, Size: 12, Stream: stream}),
		more("size too large", "", Item{Type: byte(Blob), Size: 13, Stream: stream}),
		more("size too small", "", Item{Type: byte(Blob), Size: 11, Stream: stream}),
		more("size of 2^60 for a blob", "", Item{Type: byte(Blob), Size: 1 << 60, Stream: stream}),
		more("size of 2^60 for a commit", "", Item{Type: byte(Commit), Size: 1 << 60, Stream: stream}),
		more("size of 2^40 for a tree", "", Item{Type: byte(Tree), Size: 1 << 40, Stream: stream}),
		more("size without an end", "", Item{Type: byte(Blob), Size: 1<<64 - 1, Base: "\xff\xff\xff\xff\xff\xff", Stream: stream}),
		more("no stream", "", Item{Type: byte(Blob), Size: 12, Stream: bytes.Repeat([]byte{0xaa}, 30)}),
		more("half a stream", "", Item{Type: byte(Blob), Size: 12, Stream: stream[:8]}),
		more("stream with a wrong checksum", "", Item{Type: byte(Blob), Size: 12, Stream: append(bytes.Clone(stream[:len(stream)-1]), 0)}),
	}
}

func deltas() []Case {
	add := func(name string, item func(t Target, good []Item) Item) Case {
		return withPack("delta/"+name, "", func(t Target, good []Item) []byte { return Pack(append(good, item(t, good))...) })
	}
	onBlob := func(name string, d func(size uint64) []byte) Case {
		return add(name, func(t Target, _ []Item) Item { return onNamed(BlobOf(t.Spec).ID(), d(uint64(len(t.Spec)))) })
	}
	tiny := insert(delta(1, 1), "x")
	return []Case{
		add("on what is missing", func(Target, []Item) Item { return onNamed(BlobOf("never sent").ID(), tiny) }),
		add("on another repository's blob", func(t Target, _ []Item) Item {
			return onNamed(t.ForeignBlob, copied(delta(uint64(len(t.ForeignContent)), 4), 0, 4))
		}),
		add("before the pack", func(Target, []Item) Item { return onOffset(1<<20, tiny) }),
		add("on the pack's header", func(_ Target, good []Item) Item { return onOffset(sizeOf(good)+12, tiny) }),
		add("on the middle of an object", func(_ Target, good []Item) Item { return onOffset(sizeOf(good)-3, tiny) }),
		add("on itself", func(Target, []Item) Item { return onOffset(0, tiny) }),
		add("with an offset beyond numbers", func(Target, []Item) Item {
			return Item{Type: offsetDelta, Size: 4, Base: strings.Repeat("\xff", 12) + "\x01", Stream: deflate(tiny)}
		}),
		onBlob("copies beyond its base", func(size uint64) []byte { return copied(delta(size, 1000), uint32(size)-1, 1000) }),
		onBlob("copies from nowhere", func(size uint64) []byte { return copied(delta(size, 10), 1<<31, 10) }),
		onBlob("for another size", func(size uint64) []byte { return copied(delta(size+1, 4), 0, 4) }),
		onBlob("makes less than it says", func(size uint64) []byte { return copied(delta(size, 5), 0, 4) }),
		onBlob("makes more than it says", func(size uint64) []byte { return copied(delta(size, 3), 0, 4) }),
		onBlob("with a reserved operation", func(size uint64) []byte { return append(delta(size, 4), 0) }),
		onBlob("cut off", func(size uint64) []byte { return append(delta(size, 100), 100, 'x') }),
		onBlob("empty", func(uint64) []byte { return nil }),
		onBlob("size without an end", func(uint64) []byte { return bytes.Repeat([]byte{0xff}, 20) }),
		withPack("delta/two on each other", "", func(_ Target, good []Item) []byte {
			a, b := BlobOf("a"), BlobOf("b")
			return Pack(append(good, onNamed(b.ID(), insert(delta(1, 1), "a")), onNamed(a.ID(), insert(delta(1, 1), "b")))...)
		}),
	}
}

// sizeOf is how many bytes items take in a pack.
func sizeOf(items []Item) (n uint64) {
	for _, i := range items {
		n += uint64(len(i.Bytes()))
	}
	return n
}

// Bombs are small packs of large content, for a server whose limits are 1 MiB for
// a file, 16 MiB for a package and 15,000 entries.
func Bombs() []Case {
	return []Case{
		{Name: "bomb/a file of 80 MiB", Text: "at most 1048576 are allowed", Body: func(t Target) []byte {
			const mib = 80
			bomb := BlobOf(string(make([]byte, mib<<20)))
			top := t.top(File("bomb", bomb))
			commit := CommitOf(top[1].ID(), "A commit.\n", t.Old)
			return t.send(commit.ID(), Pack(append(itemsOf(append(top, commit)), Item{Type: byte(Blob), Size: mib << 20, Stream: zeros(mib)})...))
		}},
		{Name: "bomb/a delta of 3 GiB", Text: "at most 1048576 are allowed", Body: func(t Target) []byte { return deltaBomb(t, 3<<30, 1) }},
		{Name: "bomb/1,000 deltas of 60 MiB", Text: "at most 1048576 are allowed", Body: func(t Target) []byte { return deltaBomb(t, 60<<20, 1000) }},
		{Name: "bomb/100 deltas of 900 KiB", Text: "the push has more than 16777216 bytes when unpacked", Body: func(t Target) []byte { return deltaBomb(t, 900<<10, 100) }},
		{Name: "bomb/200,000 objects", Text: "the push has 200000 objects, at most 150000 are allowed", Body: func(t Target) []byte {
			objects := t.good("A commit.\n")
			return t.send(objects[len(objects)-1].ID(), packSaying(2, 200_000, itemsOf(objects)...))
		}},
		{Name: "bomb/a commit of 512 MiB", Text: "at most 1048576 are allowed", Body: func(t Target) []byte {
			return withBomb(t, Item{Type: byte(Commit), Size: 512 << 20, Stream: zeros(512)})
		}},
		{Name: "bomb/a tree of 512 MiB", Text: "at most 1048576 are allowed", Body: func(t Target) []byte {
			return withBomb(t, Item{Type: byte(Tree), Size: 512 << 20, Stream: zeros(512)})
		}},
	}
}

// withBomb is a push of a good commit beside objects that nothing names.
func withBomb(t Target, items ...Item) []byte {
	objects := t.good("A commit.\n")
	return t.send(objects[len(objects)-1].ID(), Pack(append(itemsOf(objects), items...)...))
}

// deltaBomb is n deltas on one small base, each of which makes a large object.
func deltaBomb(t Target, size uint64, n int) []byte {
	base := BlobOf(string(make([]byte, 1<<20)))
	items := []Item{ItemOf(base)}
	for i := range n {
		mark := fmt.Sprintf("%08d", i)
		d := insert(delta(uint64(len(base.Data)), size+uint64(len(mark))), mark)
		for left := size; left > 0; {
			part := min(left, uint64(len(base.Data)))
			d = copied(d, 0, uint32(part))
			left -= part
		}
		items = append(items, onNamed(base.ID(), d))
	}
	return withBomb(t, items...)
}
