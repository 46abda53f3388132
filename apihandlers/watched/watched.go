package watched

import (
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// Every is how long a change of a file may stay unnoticed.
const Every = time.Second

// Config says which files are kept, and how they are read.
type Config[T any] struct {
	What  string   // for messages, such as "htpasswd file"; required
	Paths []string // required
	Max   int64    // bytes of one file; required
	// Parse makes the value of all files, in the order of Paths. before is the
	// value in force, the zero T at first. Its errors quote no content.
	Parse func(files []File, before T) (T, error)
	Clock func() time.Time // nil means time.Now
	Log   *slog.Logger     // nil means silent
}

// File is one version of a file.
type File struct {
	Data []byte
	Info fs.FileInfo
}

// Files holds the value of the newest sound version.
type Files[T any] struct {
	cfg Config[T]

	mu     sync.Mutex // guards what follows
	value  T
	seen   []fs.FileInfo // of the version that was read last, sound or not; nil for a missing file
	looked time.Time
}

// Open reads the files; a fault in them is an error now.
func Open[T any](cfg Config[T]) (*Files[T], error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &Files[T]{cfg: cfg, looked: cfg.Clock()}
	f.seen = f.look()
	var err error
	f.value, err = f.read(f.value)
	return f, err
}

// Get returns the value in force. It looks at the files at most once per Every.
func (f *Files[T]) Get() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.cfg.Clock()
	if now.Sub(f.looked) < Every && !now.Before(f.looked) {
		return f.value
	}
	f.looked = now
	// What is seen is noted before it is read: a change in between is then
	// found at the next look.
	found := f.look()
	if slices.EqualFunc(found, f.seen, same) {
		return f.value
	}
	f.seen = found
	value, err := f.read(f.value)
	if err != nil {
		f.cfg.Log.Error(f.cfg.What+" not reloaded, the previous one stays in effect", "err", err)
		return f.value
	}
	f.value = value
	f.cfg.Log.Info(f.cfg.What + " reloaded")
	return value
}

func (f *Files[T]) look() []fs.FileInfo {
	found := make([]fs.FileInfo, len(f.cfg.Paths))
	for i, path := range f.cfg.Paths {
		if info, err := os.Stat(path); err == nil {
			found[i] = info
		}
	}
	return found
}

// same tells whether two looks saw one version. Replacing a file by another is
// seen even where time and size are equal.
func same(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}

func (f *Files[T]) read(before T) (value T, err error) {
	files := make([]File, len(f.cfg.Paths))
	for i, path := range f.cfg.Paths {
		if files[i], err = f.readOne(path); err != nil {
			return value, err
		}
	}
	return f.cfg.Parse(files, before)
}

func (f *Files[T]) readOne(path string) (File, error) {
	op := "read " + f.cfg.What
	file, err := os.Open(path)
	if err != nil {
		return File{}, dm.Errorf(dm.Invalid, op, "the %s cannot be opened", f.cfg.What).Because(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return File{}, dm.Wrap(op, err)
	}
	data, err := io.ReadAll(io.LimitReader(file, f.cfg.Max+1))
	switch {
	case err != nil:
		return File{}, dm.Errorf(dm.Invalid, op, "the %s cannot be read", f.cfg.What).Because(err)
	case int64(len(data)) > f.cfg.Max:
		return File{}, dm.Errorf(dm.Invalid, op, "the %s is larger than %d bytes", f.cfg.What, f.cfg.Max)
	}
	return File{data, info}, nil
}
