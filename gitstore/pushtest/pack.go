package pushtest

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/adler32"
)

// Item is one object as a pack holds it.
type Item struct {
	Type   byte   // of Kind, or one of the deltas
	Size   uint64 // declared
	Base   string // what stands between the size and the data: where a delta's base is
	Stream []byte // compressed
}

// The types of deltas, by the place and by the name of the base.
const (
	offsetDelta = 6
	namedDelta  = 7
)

// ItemOf is an ordinary item.
func ItemOf(o Object) Item { return itemsOf([]Object{o})[0] }

func itemsOf(objects []Object) []Item {
	var b bytes.Buffer
	w := zlib.NewWriter(&b) // one for all: each takes as much memory as a thousand small objects
	items := make([]Item, len(objects))
	for i, o := range objects {
		b.Reset()
		w.Reset(&b)
		_, err := w.Write([]byte(o.Data))
		if err = errors.Join(err, w.Close()); err != nil {
			panic(err) // into memory: it can't fail
		}
		items[i] = Item{Type: byte(o.Kind), Size: uint64(len(o.Data)), Stream: bytes.Clone(b.Bytes())}
	}
	return items
}

// onNamed is an item that is a delta on the object base.
func onNamed(base string, delta []byte) Item {
	id, err := hex.DecodeString(base)
	if err != nil {
		panic(err) // a case of this package is wrong
	}
	item := Item{Type: namedDelta, Size: uint64(len(delta)), Base: string(id)}
	if len(delta) > 1000 {
		item.Stream = deflate(delta)
	} else {
		item.Stream = stored(delta)
	}
	return item
}

// onOffset is an item that is a delta on what stands so many bytes before it.
func onOffset(back uint64, delta []byte) Item {
	return Item{Type: offsetDelta, Size: uint64(len(delta)), Base: string(offset(back)), Stream: deflate(delta)}
}

// offset is git's way to write how far back a base is.
func offset(n uint64) []byte {
	b := []byte{byte(n & 0x7f)}
	for n >>= 7; n > 0; n >>= 7 {
		n--
		b = append([]byte{0x80 | byte(n&0x7f)}, b...)
	}
	return b
}

// Bytes is the item as it stands in a pack.
func (i Item) Bytes() []byte {
	first := i.Type<<4 | byte(i.Size&0x0f)
	size := i.Size >> 4
	var head []byte
	for ; size > 0; size >>= 7 {
		head = append(head, first|0x80)
		first = byte(size & 0x7f)
	}
	head = append(head, first)
	return append(append(head, i.Base...), i.Stream...)
}

// Pack makes a pack of the items.
func Pack(items ...Item) []byte { return packSaying(2, uint32(len(items)), items...) }

// packSaying is a pack whose header says what it likes.
func packSaying(version, count uint32, items ...Item) []byte {
	b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("PACK"), version), count)
	for _, i := range items {
		b = append(b, i.Bytes()...)
	}
	return sealed(b)
}

// sealed adds the checksum.
func sealed(b []byte) []byte {
	sum := sha1.Sum(b)
	return append(b, sum[:]...)
}

// deflate makes a stream of data.
func deflate(data []byte) []byte { return ItemOf(Object{Blob, string(data)}).Stream }

// stored makes a stream of a little data as it is.
func stored(data []byte) []byte {
	n := uint16(len(data))
	b := binary.LittleEndian.AppendUint16([]byte{0x78, 0x01, 0x01}, n)
	b = append(binary.LittleEndian.AppendUint16(b, ^n), data...)
	return binary.BigEndian.AppendUint32(b, adler32.Checksum(data))
}

// zeros is the stream of so many MiB of zeros, made in no time: one compressed
// MiB, repeated.
func zeros(mib int) []byte {
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, zlib.BestCompression)
	if err != nil {
		panic(err) // the level is one of zlib's own
	}
	part := make([]byte, 1<<20)
	marks := []int{}
	for range 2 { // the second may refer to the first, as all that follow do
		if _, err := w.Write(part); err != nil {
			panic(err)
		}
		if err := w.Flush(); err != nil {
			panic(err)
		}
		marks = append(marks, b.Len())
	}
	stream := bytes.Clone(b.Bytes()[:marks[0]])
	again := b.Bytes()[marks[0]:marks[1]]
	for range mib - 1 {
		stream = append(stream, again...)
	}
	stream = append(stream, 0x03, 0x00) // an empty last block
	sum := uint32(uint64(mib)<<20%65521)<<16 | 1
	if mib == 1 && sum != adler32.Checksum(part) {
		panic("the checksum of zeros is wrong")
	}
	return binary.BigEndian.AppendUint32(stream, sum)
}

// delta begins a delta between objects of the two sizes.
func delta(from, to uint64) []byte { return binary.AppendUvarint(binary.AppendUvarint(nil, from), to) }

// insert adds literal bytes, at most 127.
func insert(d []byte, text string) []byte { return append(append(d, byte(len(text))), text...) }

// copied adds a copy of bytes of the base.
func copied(d []byte, at, size uint32) []byte {
	return append(d, 0xff, byte(at), byte(at>>8), byte(at>>16), byte(at>>24), byte(size), byte(size>>8), byte(size>>16))
}
