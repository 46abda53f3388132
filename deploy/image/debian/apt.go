package debian

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// apt is the machine's apt with a state of its own in dir.
type apt struct {
	o            Options
	dir          string
	machineLists string // where the machine keeps lists of packages
}

// Fetch resolves the packages and downloads what the cache lacks.
func Fetch(ctx context.Context, o Options) (*Set, error) {
	if len(o.Packages) == 0 {
		return nil, errors.New("no Debian package was named")
	}
	for _, program := range []string{"apt-get", "apt-cache", "apt-config", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, ErrNoApt
		}
	}
	cache, err := o.cache()
	if err != nil {
		return nil, err
	}
	a := &apt{o: o, dir: filepath.Join(cache, "apt-"+digest(o.Sources))}
	for _, folder := range []string{"lists/partial", "archives/partial", "none/partial", "parts"} {
		if err := os.MkdirAll(filepath.Join(a.dir, folder), 0o755); err != nil {
			return nil, err
		}
	}
	unlock, err := a.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := a.configure(ctx); err != nil {
		return nil, err
	}
	return a.fetch(ctx)
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:8]
}

// lock waits until no other process works in the same folder.
func (a *apt) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(a.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for told := false; ; told = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(err, f.Close())
		}
		if !told {
			a.o.say("waiting for another run that fetches Debian packages")
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-tick.C:
		}
	}
}

// fetch tries with the lists that are there; they may be missing, or so old
// that the archive no longer has what they name.
func (a *apt) fetch(ctx context.Context) (*Set, error) {
	fresh, err := a.ensureLists(ctx)
	if err != nil {
		return nil, err
	}
	set, err := a.resolve(ctx)
	if err == nil {
		err = a.download(ctx, set)
	}
	if err == nil || fresh || ctx.Err() != nil {
		return set, err
	}
	if updated := a.update(ctx); updated != nil {
		return nil, errors.Join(err, updated)
	}
	if set, err = a.resolve(ctx); err != nil {
		return nil, err
	}
	return set, a.download(ctx, set)
}

// ensureLists takes over the machine's lists of packages if there are none yet,
// and fetches them where the machine has none either.
func (a *apt) ensureLists(ctx context.Context) (fresh bool, err error) {
	lists := filepath.Join(a.dir, "lists")
	have, err := filepath.Glob(filepath.Join(lists, "*_Packages*"))
	if err != nil {
		return false, err
	}
	if len(have) == 0 && a.o.Sources == "" && !a.o.Refresh {
		for _, pattern := range []string{"*_InRelease", "*_Release", "*_Release.gpg", "*_Packages*"} {
			files, err := filepath.Glob(filepath.Join(a.machineLists, pattern))
			if err != nil {
				return false, err
			}
			for _, file := range files {
				if err := copyFile(file, filepath.Join(lists, filepath.Base(file))); err != nil {
					return false, err
				}
				have = append(have, file)
			}
		}
	}
	if len(have) > 0 && !a.o.Refresh {
		return false, nil
	}
	return true, a.update(ctx)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// update fetches the lists. Sources that fail are an error only if no list is
// there: the machine may name some that are not ours to judge.
func (a *apt) update(ctx context.Context) error {
	a.o.say("fetching the lists of Debian's packages")
	// By default a list that cannot be fetched is no error.
	_, err := a.run(ctx, "apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any")
	have, globErr := filepath.Glob(filepath.Join(a.dir, "lists", "*_Packages*"))
	if err == nil || globErr != nil || len(have) == 0 || ctx.Err() != nil {
		return errors.Join(err, globErr)
	}
	a.o.say("not all lists of Debian's packages could be fetched; of the others those of before are used, if there are any")
	return nil
}

// resolve lists the packages and all that they depend on, by name.
func (a *apt) resolve(ctx context.Context) (*Set, error) {
	if err := a.pretend(ctx); err != nil {
		return nil, err
	}
	// With an empty folder of archives apt names all of them.
	args := append([]string{"install", "-q", "--print-uris", "-o", "Dir::Cache::archives=" + filepath.Join(a.dir, "none") + "/"}, a.o.Packages...)
	out, err := a.run(ctx, "apt-get", args...)
	if err != nil {
		return nil, err
	}
	set := &Set{archives: filepath.Join(a.dir, "archives")}
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "'") {
			continue // what apt tells people; it is part of the error if it fails
		}
		p, err := parseLine(line)
		if err != nil {
			return nil, err
		}
		set.Packages = append(set.Packages, p)
	}
	slices.SortFunc(set.Packages, func(a, b Package) int { return strings.Compare(a.Name, b.Name) })
	return set, nil
}

// parseLine reads a line of apt-get --print-uris:
//
//	'http://…/git_2.39_amd64.deb' git_1%3a2.39_amd64.deb 7264380 SHA256:…
func parseLine(line string) (p Package, err error) {
	fields := strings.Fields(line)
	if len(fields) != 4 {
		return p, fmt.Errorf("apt-get printed a line that is not understood: %q", line)
	}
	hash, ok := strings.CutPrefix(fields[3], "SHA256:")
	parts := strings.Split(strings.TrimSuffix(fields[1], ".deb"), "_")
	if !ok || len(hash) != 64 || len(parts) != 3 || fields[1] != filepath.Base(fields[1]) {
		return p, fmt.Errorf("apt-get printed a line that is not understood: %q", line)
	}
	version, err := url.PathUnescape(parts[1])
	return Package{Name: parts[0], Version: version, Architecture: parts[2], SHA256: hash, file: fields[1]}, err
}

// pretend makes apt believe that the packages of Without are installed, with
// nothing that they need themselves, and no others.
func (a *apt) pretend(ctx context.Context) error {
	status := filepath.Join(a.dir, "status")
	if err := os.WriteFile(status, nil, 0o644); err != nil || len(a.o.Without) == 0 {
		return err
	}
	records, err := a.run(ctx, "apt-cache", append([]string{"show", "--no-all-versions"}, a.o.Without...)...)
	if err != nil {
		return err
	}
	var out strings.Builder
	for line := range strings.Lines(records) {
		switch key, _, _ := strings.Cut(line, ":"); key {
		case "Package":
			out.WriteString(line + "Status: install ok installed\n")
		case "Version": // newer than what apt could install instead
			out.WriteString(strings.TrimSpace(line) + "+0\n")
		case "Architecture", "Multi-Arch", "Provides", "Maintainer", "Description", "\n":
			out.WriteString(line)
		}
	}
	return os.WriteFile(status, []byte(out.String()), 0o644)
}

// download brings the archives into the cache. apt checks what it fetches; what
// it finds there is checked here.
func (a *apt) download(ctx context.Context, set *Set) error {
	missing, err := set.missing()
	if err != nil || len(missing) == 0 {
		return err
	}
	a.o.say("fetching %d Debian packages, once", len(missing))
	if _, err := a.run(ctx, "apt-get", append([]string{"install", "-qq", "-y", "--download-only"}, a.o.Packages...)...); err != nil {
		return err
	}
	if missing, err = set.missing(); err == nil && len(missing) > 0 {
		err = fmt.Errorf("apt-get did not bring %s", strings.Join(missing, ", "))
	}
	return err
}

// missing names archives that the cache lacks, and removes those that are not
// what the lists say.
func (s *Set) missing() (names []string, err error) {
	for _, p := range s.Packages {
		path := filepath.Join(s.archives, p.file)
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			names = append(names, p.file)
			continue
		}
		if err != nil {
			return nil, err
		}
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		f.Close()
		if hex.EncodeToString(h.Sum(nil)) != p.SHA256 {
			names = append(names, p.file)
			if err := os.Remove(path); err != nil {
				return nil, err
			}
		}
	}
	return names, nil
}

// run runs a program of apt with our configuration and returns its output.
func (a *apt) run(ctx context.Context, program string, args ...string) (string, error) {
	return output(ctx, append(os.Environ(), "APT_CONFIG="+filepath.Join(a.dir, "apt.conf"), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"), program, args...)
}

func output(ctx context.Context, environ []string, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = environ
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, args[0], err, bytes.TrimSpace(append(said.Bytes(), out.Bytes()...)))
	}
	return out.String(), nil
}
