package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// contained is what is in an archive.
type contained struct {
	files    map[string][]byte // of the archive
	index    v1.IndexManifest
	manifest v1.Manifest
	config   v1.ConfigFile
	diffs    []string   // hashes of the layers when unpacked
	tree     tree       // all layers
	names    [][]string // of each layer, as they come
}

func readImage(t *testing.T, path string) *contained {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	i := &contained{files: map[string][]byte{}, tree: tree{}}
	for h, content := range entries(t, f) {
		i.files[h.Name] = content
	}
	decode(t, i.files["index.json"], &i.index)
	if len(i.index.Manifests) != 1 {
		t.Fatalf("%d images, want 1", len(i.index.Manifests))
	}
	decode(t, i.blob(i.index.Manifests[0].Digest), &i.manifest)
	decode(t, i.blob(i.manifest.Config.Digest), &i.config)
	for _, l := range i.manifest.Layers {
		i.unpack(t, l.Digest)
	}
	return i
}

func (i *contained) blob(hash v1.Hash) []byte { return i.files["blobs/sha256/"+hash.Hex] }

func decode(t *testing.T, content []byte, to any) {
	t.Helper()
	if err := json.Unmarshal(content, to); err != nil {
		t.Fatalf("%v: %s", err, content)
	}
}

// unpack adds a layer to the tree.
func (i *contained) unpack(t *testing.T, hash v1.Hash) {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(i.blob(hash)))
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	i.diffs = append(i.diffs, hex.EncodeToString(sum[:]))
	var names []string
	for h, content := range entries(t, bytes.NewReader(content)) {
		name := strings.TrimSuffix(h.Name, "/")
		names = append(names, name)
		i.tree[name] = &node{header: *h, content: content}
	}
	i.names = append(i.names, names)
}

// entries reads a tar.
func entries(t *testing.T, in io.Reader) func(func(*tar.Header, []byte) bool) {
	t.Helper()
	return func(yield func(*tar.Header, []byte) bool) {
		for archive := tar.NewReader(in); ; {
			h, err := archive.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			content := []byte(nil)
			if err == nil {
				content, err = io.ReadAll(archive)
			}
			if err != nil {
				t.Fatal(err)
			}
			if !yield(h, content) {
				return
			}
		}
	}
}

// testLibraries: every program finds the libraries that it names, and the
// server names none.
func testLibraries(t *testing.T, i *contained) {
	have := map[string]bool{}
	for name := range i.tree {
		if strings.HasPrefix(name, "usr/lib") {
			have[path.Base(name)] = true
		}
	}
	programs := 0
	for name, n := range i.tree {
		if !bytes.HasPrefix(n.content, []byte("\x7fELF")) {
			continue
		}
		file, err := elf.NewFile(bytes.NewReader(n.content))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		libraries, err := file.ImportedLibraries()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if "/"+name == program && len(libraries) > 0 {
			t.Errorf("the server needs %q", libraries)
		}
		for _, library := range libraries {
			if !have[library] {
				t.Errorf("%s needs %s, which is missing", name, library)
			}
		}
		programs++
	}
	if programs < 50 {
		t.Errorf("only %d programs and libraries were found", programs)
	}
}

// testPodPrograms: they run in any pod of their processor type, and are small
// enough to be fetched by each.
func testPodPrograms(t *testing.T, i *contained) {
	for processor, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		name := "usr/local/bin/deployment-manager-sync-" + processor
		content := i.tree.get(t, name)
		file, err := elf.NewFile(bytes.NewReader(content))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if file.Machine != machine || i.tree[name].header.Mode != 0o755 {
			t.Errorf("%s is for %v, mode %o; want %v, 755", name, file.Machine, i.tree[name].header.Mode, machine)
		}
		if len(content) > 3_000_000 {
			t.Errorf("%s has %d bytes, want at most 3,000,000", name, len(content))
		}
		for _, p := range file.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s is not static, it has %v", name, p.Type)
			}
		}
	}
}

// testValues: the file beside the archive is what the chart is to be told of this
// image.
func testValues(t *testing.T, i *contained, file string) {
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := func(processor string) [32]byte {
		return sha256.Sum256(i.tree.get(t, "usr/local/bin/deployment-manager-sync-"+processor))
	}
	want := fmt.Sprintf("image:\n  tag: \"test\"\nsync:\n  sha256:\n  - \"%x\" # amd64\n  - \"%x\" # arm64\n", sum("amd64"), sum("arm64"))
	if string(got) != want {
		t.Errorf("%s is\n%s\nwant\n%s", file, got, want)
	}
}

// testInterpreters: scripts of git are in a language that is there. A few other
// scripts ask for bash, which is not; nobody needs them in a container.
func testInterpreters(t *testing.T, i *contained) {
	bash := []string{"usr/bin/ldd", "usr/bin/tzselect", "usr/bin/zdiff"}
	for name, n := range i.tree {
		line, ok := strings.CutPrefix(string(n.content[:min(len(n.content), 100)]), "#!")
		if !ok || slices.Contains(bash, name) {
			continue
		}
		line, _, _ = strings.Cut(line, "\n")
		interpreter := strings.TrimPrefix(strings.Fields(line)[0], "/")
		if dir := path.Dir(interpreter); dir == "bin" || dir == "sbin" {
			interpreter = "usr/" + interpreter
		}
		if i.tree[filepath.ToSlash(interpreter)] == nil {
			t.Errorf("%s needs /%s, which is missing", name, interpreter)
		}
	}
}
