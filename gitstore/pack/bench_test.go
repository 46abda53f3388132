package pack_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// BenchmarkWriter writes a mix of what packages hold: small texts, notebooks,
// and a few large files that do not shrink.
func BenchmarkWriter(b *testing.B) {
	r := newRepository(b)
	contents := [][]byte{noise(6 << 20), noise(2 << 20), text(5 << 20)}
	for i := range 60 {
		contents = append(contents, text(200_000+i))
	}
	total := 0
	for _, c := range contents {
		total += len(c)
	}
	b.SetBytes(int64(total))
	for b.Loop() {
		w := r.create(b)
		for _, c := range contents {
			if _, err := w.Blob(int64(len(c)), bytes.NewReader(c)); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.Commit(""); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStored keeps an archive of 20 MB.
func BenchmarkStored(b *testing.B) {
	r := newRepository(b)
	content := noise(20 << 20)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		commitStored(b, r, content, int64(len(content)))
	}
}

// BenchmarkStoredBlob is a download.
func BenchmarkStoredBlob(b *testing.B) {
	r := newRepository(b)
	content := noise(20 << 20)
	path, blob := commitStored(b, r, content, int64(len(content)))
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		s, err := pack.OpenStored(path, blob)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSmall is the pack of one change of an application: a few small
// objects, durable.
func BenchmarkSmall(b *testing.B) {
	r := newRepository(b)
	i := 0
	for b.Loop() {
		w := r.create(b)
		for range 6 {
			i++
			if _, err := w.Add(3, text(300+i%1000)); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.Commit(""); err != nil {
			b.Fatal(err)
		}
	}
}
