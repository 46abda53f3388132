package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layer is one of the image, and what its history says.
type layer struct {
	v1.Layer
	says string
}

// assemble puts the layers and the configuration together.
func assemble(b build, layers ...layer) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	when := v1.Time{Time: b.when}
	for _, l := range layers {
		var err error
		image, err = mutate.Append(image, mutate.Addendum{Layer: l, History: v1.History{Created: when, CreatedBy: l.says}})
		if err != nil {
			return nil, err
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created, config.Config = "linux", runtime.GOARCH, when, runConfig(b)
	return mutate.ConfigFile(image, config)
}

// writeArchive writes an OCI layout as a tar, made aside and renamed. It also
// has the list that programs look for which know only docker save's format.
func writeArchive(path, name string, image v1.Image) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".image-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	out := tar.NewWriter(f)
	err = writeLayout(out, name, image)
	if err = errors.Join(err, out.Close(), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func writeLayout(out *tar.Writer, name string, image v1.Image) error {
	manifest, err := manifestBlob(image)
	if err != nil {
		return err
	}
	top, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{{
		MediaType: types.OCIManifestSchema1, Size: manifest.size, Digest: manifest.hash,
		Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH},
		Annotations: map[string]string{
			"io.containerd.image.name":          registry + name,
			"org.opencontainers.image.ref.name": registry + name,
		},
	}}})
	if err != nil {
		return err
	}
	list, blobs, err := contents(name, image)
	if err != nil {
		return err
	}
	for _, file := range []struct {
		name    string
		content []byte
	}{{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)}, {"index.json", top}, {"manifest.json", list}} {
		if err := writeFile(out, file.name, file.content); err != nil {
			return err
		}
	}
	for _, b := range append(blobs, manifest) {
		if err := writeBlob(out, b); err != nil {
			return err
		}
	}
	return nil
}

// blob is a file of the layout that is named by its hash.
type blob struct {
	hash    v1.Hash
	size    int64
	content func() (io.ReadCloser, error)
}

func (b blob) name() string { return "blobs/" + b.hash.Algorithm + "/" + b.hash.Hex }

// contents are the image's layers and its configuration, and docker save's list
// of them.
func contents(name string, image v1.Image) (list []byte, blobs []blob, err error) {
	config, err := partial.ConfigLayer(image)
	if err != nil {
		return nil, nil, err
	}
	layers, err := image.Layers()
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for _, l := range append(layers, config) {
		hash, err := l.Digest()
		if err != nil {
			return nil, nil, err
		}
		size, err := l.Size()
		if err != nil {
			return nil, nil, err
		}
		b := blob{hash, size, l.Compressed}
		blobs, names = append(blobs, b), append(names, b.name())
	}
	last := len(layers)
	list, err = json.Marshal([]map[string]any{{"Config": names[last], "RepoTags": []string{registry + name}, "Layers": names[:last]}})
	return list, blobs, err
}

func manifestBlob(image v1.Image) (blob, error) {
	raw, err := image.RawManifest()
	if err != nil {
		return blob{}, err
	}
	hash, err := image.Digest()
	return blob{hash, int64(len(raw)), opener(raw)}, err
}

func opener(content []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
}

func writeFile(out *tar.Writer, name string, content []byte) error {
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := out.Write(content)
	return err
}

func writeBlob(out *tar.Writer, b blob) (err error) {
	if err := out.WriteHeader(&tar.Header{Name: b.name(), Mode: 0o644, Size: b.size}); err != nil {
		return err
	}
	in, err := b.content()
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, in.Close())
}
