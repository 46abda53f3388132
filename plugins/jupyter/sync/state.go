package sync

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/disk"
	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/remote"
	"golang.org/x/sys/unix"
)

// The program's own files, beside those of its git repository.
const (
	stateName    = "deployment-manager" // in .git, or with a dot at its front where .git is no folder
	lockName     = "lock"
	manifestName = "manifest"
	journalName  = "journal"
	notesName    = "notes"
	logName      = "log"
	freshName    = "coming" // a folder: what is brought next, and what was there before it
)

// state is the program's own folder in the user's folder.
type state struct {
	disk.Dir
	path string
	lock *os.File // held until the process ends
}

// openState finds the folder's place and makes it.
func openState(d *disk.Disk, root disk.Dir, folder string) (*state, error) {
	in, name, path := root, "."+stateName, filepath.Join(folder, "."+stateName)
	if st, err := root.Stat(".git"); errors.Is(err, fs.ErrNotExist) || err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if in, err = root.Needed(".git"); err != nil {
			return nil, err
		}
		name, path = stateName, filepath.Join(folder, ".git", stateName)
	}
	own, err := in.Needed(name)
	return &state{Dir: own, path: path}, err
}

// inGit tells that .git is a folder, which the program keeps as a clone.
func (s *state) inGit() bool { return filepath.Base(s.path) == stateName }

var errBusy = errors.New("another run is at work")

// acquire waits for the lock, while ctx lets it.
func (s *state) acquire(ctx context.Context) (err error) {
	fd, err := unix.Openat(s.Fd, lockName, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o666)
	if err != nil {
		return err
	}
	s.Give(lockName)
	s.lock = os.NewFile(uintptr(fd), lockName)
	for moved := false; ; {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !moved && (errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP)):
			if fd, err = s.elsewhere(); err != nil {
				return err
			}
			moved = true
			continue
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return err
		}
		select {
		case <-ctx.Done():
			return errBusy
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// elsewhere opens a lock outside of a disk that knows no locks. It keeps apart the
// runs on this machine.
func (s *state) elsewhere() (int, error) {
	st, err := s.Stat(".")
	if err != nil {
		return 0, err
	}
	name := filepath.Join(os.TempDir(), fmt.Sprintf("deployment-manager-sync-%d-%x-%x", os.Geteuid(), st.Dev, st.Ino))
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err == nil {
		s.lock = os.NewFile(uintptr(fd), name)
	}
	return fd, err
}

// read gives the lines of a small file of ours, without a last one that is not
// whole. A file that is missing has none.
func (s *state) read(name string) ([]string, error) {
	f, _, err := s.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []string
	for in := bufio.NewReader(f); ; {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			return lines, nil
		}
		if err != nil {
			return nil, err // no small file of ours may count as missing for that
		}
		lines = append(lines, line[:len(line)-1])
	}
}

// durable is that a power cut leaves a file as it was or as it is. What has lost it
// can be made again, or is flushed together with more.
type durable bool

// write makes a small file as a whole, or leaves the one of before.
func (s *state) write(to disk.Dir, name string, lines []string, kept durable) (err error) {
	const aside = "new"
	_ = s.Remove(aside) // of a run that was killed
	f, err := s.Create(aside, 0o666)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(f)
	for _, line := range lines {
		out.WriteString(line)
		out.WriteByte('\n')
	}
	if err = errors.Join(s.May("write"), out.Flush()); err == nil && bool(kept) {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.Replace(aside, to, name)
	}
	if err != nil {
		_ = s.Remove(aside) // an empty file would be what is left of a full disk
	}
	return err
}

// manifest is what earlier runs brought: the base of the next comparison.
type manifest struct {
	commit   string // the server's newest that a run went through; empty before the first one
	complete bool   // all of that commit is brought
	files    map[string]remote.Version
}

// The first word has the number of the form.
const manifestHead, manifestTail = "deployment-manager-sync 1", "end"

// readManifest reads the manifest; nil stands for none, or one that is damaged.
func (s *state) readManifest() (*manifest, error) {
	lines, err := s.read(manifestName)
	if err != nil || len(lines) < 2 {
		return nil, err
	}
	head := strings.Fields(lines[0])
	if !strings.HasPrefix(lines[0], manifestHead+" ") || len(head) != 4 || lines[len(lines)-1] != fmt.Sprint(manifestTail, " ", len(lines)-2) {
		return nil, nil
	}
	m := &manifest{commit: strings.Trim(head[2], "-"), complete: head[3] == "complete", files: map[string]remote.Version{}}
	for _, line := range lines[1 : len(lines)-1] {
		v, path, ok := parseEntry(line)
		if !ok {
			return nil, nil
		}
		m.files[path] = v
	}
	return m, nil
}

func (s *state) writeManifest(m *manifest, kept durable) error {
	how := "part"
	if m.complete {
		how = "complete"
	}
	lines := []string{fmt.Sprintf("%s %s %s", manifestHead, cmp.Or(m.commit, "-"), how)}
	for _, path := range slices.Sorted(maps.Keys(m.files)) {
		lines = append(lines, entry(m.files[path], path))
	}
	return s.write(s.Dir, manifestName, append(lines, fmt.Sprint(manifestTail, " ", len(lines)-1)), kept)
}

// entry is a version and its path as a line; parseEntry reads it.
func entry(v remote.Version, path string) string {
	mode := "-"
	if v.Exec {
		mode = "x"
	}
	return v.Blob.String() + " " + mode + " " + strconv.Quote(path)
}

func parseEntry(line string) (v remote.Version, path string, ok bool) {
	if len(line) < 44 {
		return v, "", false
	}
	v.Blob, ok = remote.ParseBlob(line[:40])
	v.Exec = line[41] == 'x'
	path, err := strconv.Unquote(line[43:])
	return v, path, ok && err == nil && disk.Plain(path)
}
