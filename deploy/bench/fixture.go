package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
)

// source makes the content of generated files. The same seed always gives the
// same bytes.
type source struct {
	*rand.Rand
	raw *rand.ChaCha8
}

func newSource(seed uint64) source {
	var key [32]byte
	copy(key[:], strconv.FormatUint(seed, 10))
	raw := rand.NewChaCha8(key)
	return source{rand.New(raw), raw}
}

// noise is content that does not compress, as that of jars and wheels.
func (s source) noise(size int64) []byte {
	data := make([]byte, size)
	_, _ = s.raw.Read(data) // never fails
	return data
}

// weights is an array of small random float32: it compresses by a tenth.
func (s source) weights(size int64) []byte {
	data := s.noise(size)
	for i := 3; i < len(data); i += 4 {
		data[i] = 0x3c | data[i]&0x81
	}
	return data
}

// table is a csv file of measurements.
func (s source) table(size int64) []byte {
	data := append(make([]byte, 0, size+128), "time,link,bytes,packets,loss\n"...)
	for at := int64(1_700_000_000); int64(len(data)) < size; at += 60 {
		data = strconv.AppendInt(data, at, 10)
		data = append(data, ",link-"...)
		data = strconv.AppendInt(data, int64(s.IntN(40)), 10)
		data = append(data, ',')
		data = strconv.AppendInt(data, int64(s.IntN(1_000_000)), 10)
		data = append(data, ',')
		data = strconv.AppendInt(data, int64(s.IntN(1000)), 10)
		data = append(data, ',', '0', '.')
		data = strconv.AppendInt(data, int64(s.IntN(100)), 10)
		data = append(data, '\n')
	}
	return data
}

var words = []string{"flow", "link", "topic", "frame", "group", "by", "mean", "plot", "df", "spark", "select", "where",
	"count", "window", "join", "read", "csv", "model", "fit", "score", "train", "test", "axis", "index", "value", "time"}

// notebook is a valid notebook of code cells, some with an image as output.
func (s source) notebook(size int64) []byte {
	data := append(make([]byte, 0, size+4096), `{"cells":[`...)
	for cell := 0; cell == 0 || int64(len(data)) < size; cell++ {
		if cell > 0 {
			data = append(data, ',')
		}
		data = fmt.Appendf(data, `{"cell_type":"code","id":"cell-%d","execution_count":%[1]d,"metadata":{},"source":["# ${component_application}\n`, cell)
		for line := range 12 {
			if line > 0 {
				data = append(data, `\n`...)
			}
			for range 6 {
				data = append(data, words[s.IntN(len(words))]...)
				data = append(data, ' ')
			}
		}
		data = append(data, `"],"outputs":[`...)
		if cell%8 == 0 {
			data = fmt.Appendf(data, `{"output_type":"display_data","metadata":{},"data":{"image/png":"%x"}}`, s.noise(500))
		}
		data = append(data, `]}`...)
	}
	return append(data, "],\"metadata\":{},\"nbformat\":4,\"nbformat_minor\":5}\n"...)
}

// kind is one sort of file in a generated package.
type kind struct {
	name    string // with a verb for the number
	share   float64
	average int64
	make    func(source, int64) []byte
}

// mixed is a package as they are in the field: a quarter is jars and wheels,
// then model weights, notebooks and csv.
var mixed = []kind{
	{"lib/library-%03d.jar", 0.27, 1 * megabyte, source.noise},
	{"model/weights-%03d.bin", 0.18, 48 * megabyte, source.weights},
	{"data/table-%03d.csv", 0.25, 500_000, source.table},
	{"notebook-%03d.ipynb", 0.30, 250_000, source.notebook},
}

// notebooksOnly is what a class gets: notebooks and the csv they read.
var notebooksOnly = []kind{
	{"data/table-%03d.csv", 0.5, 250_000, source.table},
	{"notebook-%03d.ipynb", 0.5, 80_000, source.notebook},
}

// file is one file of a generated package, below its component.
type file struct {
	path    string
	content []byte
}

// content makes about raw bytes of files, one at a time, so that a large
// package never is in memory. The revision changes every fifth file.
func content(kinds []kind, raw int64, revision int, each func(file) error) error {
	properties := file{"properties.json", []byte(`{"topic": "flows", "limit": 3}` + "\n")}
	if err := each(properties); err != nil {
		return err
	}
	for i, k := range kinds {
		left := int64(k.share * float64(raw))
		for n := 0; left > 0; n++ {
			seed := uint64(i)<<32 | uint64(n)
			if n%5 == 0 {
				seed += uint64(revision) << 48
			}
			size := min(left, k.average/2+int64(newSource(uint64(n)).Int64N(k.average)))
			left -= size
			if err := each(file{fmt.Sprintf(k.name, n), k.make(newSource(seed), size)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// archiveOf says what a generated archive holds.
type archiveOf struct {
	id       string // of the package, the name of the outer folder
	kinds    []kind
	raw      int64
	revision int
	level    int // of gzip
}

// writeArchive writes a package of one jupyter component as .tar.gz.
func writeArchive(w io.Writer, a archiveOf) error {
	zip, err := gzip.NewWriterLevel(w, a.level)
	if err != nil {
		return err
	}
	out := tar.NewWriter(zip)
	err = content(a.kinds, a.raw, a.revision, func(f file) error {
		header := tar.Header{Typeflag: tar.TypeReg, Name: a.id + "/jupyter/report/" + f.path, Mode: 0o644, Size: int64(len(f.content))}
		if err := out.WriteHeader(&header); err != nil {
			return err
		}
		_, err := out.Write(f.content)
		return err
	})
	if err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return zip.Close()
}

// archiveFile writes a generated archive to a file.
func archiveFile(path string, a archiveOf) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buffered := bufio.NewWriterSize(f, 1<<20)
	if err := writeArchive(buffered, a); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return f.Close()
}
