package hooks

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pndaproject/deployment-manager/hooks/hook"
)

// installProgram puts a symbolic link to program under the hook's name, and
// takes away those of earlier servers. A link is replaced at once, so that a push
// never finds it missing.
func installProgram(folder, program string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(folder, 0o700); err != nil {
		return err
	}
	aside := filepath.Join(folder, "."+hook.Name)
	for _, left := range []string{aside, filepath.Join(folder, "pre-receive"), filepath.Join(folder, "post-receive")} {
		if err := os.Remove(left); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := os.Symlink(program, aside); err != nil {
		return err
	}
	return os.Rename(aside, filepath.Join(folder, hook.Name))
}

// maxSocketPath is what fits beside the final NUL into sockaddr_un on Linux.
const maxSocketPath = 107

const (
	socketPrefix = "push-"
	socketSuffix = ".sock"
)

// socketPlace is where the socket stands.
type socketPlace struct {
	socket string
	folder string // the private folder made for it, "" when it stands beside the programs
}

// remove removes the folder; the listener has removed the socket.
func (p socketPlace) remove() error {
	if p.folder == "" {
		return nil
	}
	return os.Remove(p.folder)
}

// listen opens a socket under a name of its own, in folder, or in a private
// folder under temporary when folder's path is too long for a socket. It
// removes what killed servers of the same folder have left.
func listen(folder, temporary string) (*net.UnixListener, socketPlace, error) {
	id, err := newSessionID()
	if err != nil {
		return nil, socketPlace{}, err
	}
	name := socketPrefix + id[:8] + socketSuffix
	// The folder's digest keeps servers of other data folders apart.
	digest := sha256.Sum256([]byte(folder))
	private := "dm-push-" + hex.EncodeToString(digest[:6]) + "-"
	removeStale(folder)
	for _, left := range leftFolders(temporary, private) {
		removeStale(left)
		_ = os.Remove(left) // stays while a living server's socket is in it
	}

	place := socketPlace{socket: filepath.Join(folder, name)}
	if len(place.socket) > maxSocketPath {
		if place.folder, err = os.MkdirTemp(temporary, private); err != nil {
			return nil, place, err
		}
		place.socket = filepath.Join(place.folder, name)
	}
	listener, err := listenPrivate(place.socket)
	if err != nil {
		return nil, place, errors.Join(err, place.remove())
	}
	return listener, place, nil
}

func listenPrivate(path string) (*net.UnixListener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("hooks: the path of the socket has %d bytes, at most %d are possible: set TMPDIR to a shorter path", len(path), maxSocketPath)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// leftFolders returns the private folders of this user in temporary.
func leftFolders(temporary, prefix string) []string {
	entries, err := os.ReadDir(temporary)
	if err != nil {
		return nil // what can't be listed can't be tidied, and does no harm
	}
	var folders []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.IsDir() || !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) == os.Getuid() {
			folders = append(folders, filepath.Join(temporary, e.Name()))
		}
	}
	return folders
}

// removeStale removes sockets on which nobody listens any more. One that
// answers belongs to a living server and is left alone.
func removeStale(folder string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	for _, e := range entries {
		name := e.Name()
		if e.Type()&os.ModeSocket == 0 || !strings.HasPrefix(name, socketPrefix) || !strings.HasSuffix(name, socketSuffix) {
			continue
		}
		path := filepath.Join(folder, name)
		conn, err := net.Dial("unix", path)
		if err == nil {
			_ = conn.Close() // only the answer mattered
		} else if errors.Is(err, syscall.ECONNREFUSED) {
			_ = os.Remove(path) // the next start tries again
		}
	}
}
