package pack

import (
	"bufio"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
)

const (
	// smallBlob is up to which size a blob is handed to the workers whole.
	smallBlob = 1 << 20
	// maxWorkers bounds the memory of a Writer: at most 2*maxWorkers+2 small
	// blobs wait, and every worker holds one more in deflated form.
	maxWorkers = 8

	HeaderSize  = 12
	TrailerSize = 20
)

// Config says where a pack is written.
type Config struct {
	Dir     string            // the repository's objects/pack folder, which exists
	Workers int               // goroutines that hash and deflate; 0 means one per processor, at most 8
	Step    func(name string) // called at named points of Commit, for crash tests; nil means not

	// Known tells of an object that it is there already and is not to be written
	// again; nil means of none. It is called by one goroutine at a time.
	Known func(plumbing.Hash) bool
}

// Entry is one blob of a pack being written. Hash is valid after Flush.
type Entry struct {
	Hash plumbing.Hash
	Size int64
}

// Writer writes one pack. One goroutine calls its methods; after an error of
// one of them only Abort is of use.
type Writer struct {
	cfg  Config
	file *os.File

	idle    chan []byte // buffers for small blobs; their number bounds the memory
	jobs    chan job
	workers sync.WaitGroup
	pending sync.WaitGroup

	large  *deflater // of streamed blobs
	output []byte    // of Add

	mu       sync.Mutex
	buffered *bufio.Writer
	offset   int64
	objects  []object
	places   map[plumbing.Hash]int64 // offsets by name, as far as Open has needed them
	seen     map[plumbing.Hash]struct{}
	spared   []plumbing.Hash
	err      error     // the first failure; everything after it is void
	single   hash.Hash // the trailer so far, if the pack is one stored blob and no more
	done     bool
}

// object is what the index tells of one object.
type object struct {
	name   plumbing.Hash
	offset int64
	crc    uint32
}

type job struct {
	entry   *Entry
	content []byte
}

// Create opens a temporary file in cfg.Dir. The caller ends the Writer with
// Abort, also after Commit.
func Create(cfg Config) (*Writer, error) {
	const op = "pack.Create"
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	cfg.Workers = min(cfg.Workers, maxWorkers)
	file, err := os.CreateTemp(cfg.Dir, "tmp_pack_*")
	if err != nil {
		return nil, dm.Wrap(op, err)
	}
	w := &Writer{
		cfg: cfg, file: file,
		buffered: bufio.NewWriterSize(file, 64<<10),
		seen:     map[plumbing.Hash]struct{}{},
	}
	header := packHeader(1) // Commit patches the count
	if err := w.write(header[:]); err != nil {
		w.Abort()
		return nil, dm.Wrap(op, err)
	}
	return w, nil
}

// step reports a named point.
func (w *Writer) step(name string) {
	if w.cfg.Step != nil {
		w.cfg.Step(name)
	}
}

// write appends p to the pack. The caller holds mu, or no worker runs.
func (w *Writer) write(p []byte) error {
	n, err := w.buffered.Write(p)
	w.offset += int64(n)
	if err != nil {
		return fmt.Errorf("write pack: %w", err)
	}
	return nil
}

// fail keeps the first failure and returns it.
func (w *Writer) fail(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	return w.err
}

// usable returns the first failure, or that the Writer has ended.
func (w *Writer) usable() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && w.done {
		return errors.New("the pack writer has ended")
	}
	return w.err
}

// claim tells whether the object is to be written, and reserves it.
func (w *Writer) claim(name plumbing.Hash) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.isNew(name)
}

// isNew is claim for who holds mu.
func (w *Writer) isNew(name plumbing.Hash) bool {
	if _, ok := w.seen[name]; ok {
		return false
	}
	w.seen[name] = struct{}{}
	if w.cfg.Known != nil && w.cfg.Known(name) {
		w.spared = append(w.spared, name)
		return false
	}
	return true
}

// put appends one finished entry: header and zlib stream.
func (w *Writer) put(name plumbing.Hash, entry []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	w.single = nil
	w.objects = append(w.objects, object{name, w.offset, crc32.ChecksumIEEE(entry)})
	if err := w.write(entry); err != nil {
		w.err = err
	}
	return w.err
}

// Add writes one small object at once and returns its name.
func (w *Writer) Add(t plumbing.ObjectType, content []byte) (plumbing.Hash, error) {
	const op = "pack.Add"
	if err := w.usable(); err != nil {
		return plumbing.ZeroHash, dm.Wrap(op, err)
	}
	name, err := nameOf(t, content)
	if err != nil {
		return plumbing.ZeroHash, dm.Wrap(op, w.fail(err))
	}
	if !w.claim(name) {
		return name, nil
	}
	w.output = appendSmall(AppendEntryHeader(w.output[:0], t, int64(len(content))), content)
	err = w.put(name, w.output)
	if cap(w.output) > 2*smallBlob {
		w.output = nil
	}
	return name, dm.Wrap(op, err)
}

// Blob reads exactly size bytes from r, which must end there, and writes them
// as a blob. Small blobs are written by workers after Blob has returned: see
// Flush. An error of r is kept as the cause; a wrong size is Invalid.
func (w *Writer) Blob(size int64, r io.Reader) (*Entry, error) {
	const op = "pack.Blob"
	if err := w.usable(); err != nil {
		return nil, dm.Wrap(op, err)
	}
	entry := &Entry{Size: size}
	if size > smallBlob {
		return entry, dm.Wrap(op, w.stream(entry, r))
	}
	if w.jobs == nil {
		w.start()
	}
	content := <-w.idle
	if int64(cap(content)) < size {
		content = make([]byte, size)
	}
	content = content[:size]
	if err := readAll(r, content); err != nil {
		w.idle <- content
		return nil, dm.Wrap(op, w.fail(err))
	}
	w.pending.Add(1)
	w.jobs <- job{entry, content}
	return entry, nil
}

// readAll fills content from r, which must end there.
func readAll(r io.Reader, content []byte) error {
	n, err := io.ReadFull(r, content)
	if err != nil {
		return shortRead(err, int64(n), int64(len(content)))
	}
	return expectEnd(r, int64(len(content)))
}

func shortRead(err error, got, want int64) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return dm.Errorf(dm.Invalid, "pack.Writer", "the content ends after %d of %d bytes", got, want)
	}
	return err
}

// expectEnd makes sure that r has no more than the size that was read.
func expectEnd(r io.Reader, size int64) error {
	var more [1]byte
	n, err := io.ReadFull(r, more[:])
	switch {
	case n > 0:
		return dm.Errorf(dm.Invalid, "pack.Writer", "the content has more than %d bytes", size)
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

// start runs the workers. They end when jobs is closed.
func (w *Writer) start() {
	buffers := 2*w.cfg.Workers + 2
	w.idle = make(chan []byte, buffers)
	for range buffers {
		w.idle <- nil
	}
	w.jobs = make(chan job, buffers)
	for range w.cfg.Workers {
		w.workers.Go(w.work)
	}
}

func (w *Writer) work() {
	var output []byte
	deflate, err := newDeflater()
	for j := range w.jobs {
		if err == nil {
			output, err = w.small(j, deflate, output[:0])
		}
		if err != nil {
			_ = w.fail(err)
		}
		w.idle <- j.content
		w.pending.Done()
	}
}

// small names, deflates and writes one small blob. It returns output for use
// with the next one.
func (w *Writer) small(j job, deflate *deflater, output []byte) ([]byte, error) {
	name, err := nameOf(plumbing.BlobObject, j.content)
	if err != nil {
		return output, err
	}
	j.entry.Hash = name
	if !w.claim(name) {
		return output, nil
	}
	output = AppendEntryHeader(output, plumbing.BlobObject, int64(len(j.content)))
	output = deflate.appendDeflated(output, j.content)
	return output, w.put(name, output)
}

// Flush waits until every blob has its name.
func (w *Writer) Flush() error {
	w.pending.Wait()
	return dm.Wrap("pack.Flush", w.usable())
}

// Has tells whether the Writer was given the object; blobs count after Flush.
func (w *Writer) Has(h plumbing.Hash) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.seen[h]
	return ok
}

// Spared lists the objects that were not written because Config.Known told of
// them; blobs count after Flush.
func (w *Writer) Spared() []plumbing.Hash {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.spared
}

// Size is how long the pack is by now, in bytes; blobs count after Flush.
func (w *Writer) Size() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.offset
}

// stop ends the workers and waits for them.
func (w *Writer) stop() {
	if w.jobs != nil {
		close(w.jobs)
		w.workers.Wait()
		w.jobs, w.idle = nil, nil
	}
}

// Abort removes what is there of the pack unless Commit has succeeded. It may
// be called at any time and more than once.
func (w *Writer) Abort() {
	w.stop()
	if w.file != nil {
		// The file is thrown away: nothing depends on how this ends.
		_ = w.file.Close()
		_ = os.Remove(w.file.Name())
		w.file = nil
	}
	w.done = true
}
