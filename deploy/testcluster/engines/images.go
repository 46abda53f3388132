package engines

import (
	"archive/tar"
	"compress/gzip"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/pndaproject/deployment-manager/deploy/image/debian"
	"github.com/pndaproject/deployment-manager/deploy/testcluster/node"
)

// The images, as pods name them.
const (
	SparkVersion  = "4.3.0"
	SparkImage    = "localhost/spark:" + SparkVersion
	OperatorImage = "localhost/spark-operator:2.5.2"
)

// recipe is all that says what is in an image, so that a change makes it again.
//
//go:embed images.go
var recipe string

//go:embed entrypoint.sh
var entrypoint string

// Of Debian the images have Java and Python, without what is for desktops, under the
// names of newer releases too.
var (
	packages = []string{
		"default-jre-headless", "python3-minimal", "libpython3-stdlib", "bash", "dash", "coreutils", "tini", "procps", "sed", "grep", "gawk",
		"libnss3", "libc-bin", "base-files",
	}
	withoutPackages = []string{
		"ca-certificates-java", "ca-certificates", "java-common", "libcups2", "libcups2t64", "liblcms2-2", "libpcsclite1", "libasound2", "libasound2t64",
		"libfontconfig1", "libfreetype6", "libharfbuzz0b", "fontconfig-config", "perl",
	}
)

// withoutJars are those of Spark that its jobs here do not use: Hive, machine learning,
// Connect, YARN, the state store of RocksDB, other machines.
var withoutJars = []string{
	"rocksdbjni*", "hive*", "derby*", "datanucleus*", "breeze*", "spire*", "cats-kernel*", "algebra_*", "spark-mllib*", "spark-connect_*", "spark-hive*",
	"spark-yarn*", "tink-*", "*-osx-*", "*-windows-*", "*-aarch_64.jar",
}

// ErrNoPip is the error on a machine that can't fetch Spark.
var ErrNoPip = errors.New("this machine has no Python with pip, which fetches Spark")

// Pip finds the program that fetches from PyPI.
func Pip() (string, error) {
	for _, program := range []string{"python3", "python"} {
		if found, err := exec.LookPath(program); err == nil && exec.Command(found, "-m", "pip", "--version").Run() == nil {
			return found, nil
		}
	}
	return "", ErrNoPip
}

// Spark is a folder with Spark as it is published.
func Spark(ctx context.Context, progress io.Writer) (string, error) {
	return once(ctx, "pyspark", SparkVersion, func(folder string) error {
		python, err := Pip()
		if err != nil {
			return err
		}
		fmt.Fprintln(progress, "fetching Spark "+SparkVersion+", once; 460 MB, a minute or two")
		command := exec.CommandContext(ctx, python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "pyspark=="+SparkVersion)
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("pip download: %w\n%s", err, out)
		}
		archives, err := filepath.Glob(filepath.Join(folder, "pyspark-*.tar.gz"))
		if err == nil && len(archives) != 1 {
			err = fmt.Errorf("pip brought %v, want one archive", archives)
		}
		if err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, "tar", "-xzf", archives[0], "-C", folder, "--strip-components=1").CombinedOutput(); err != nil {
			return fmt.Errorf("tar: %w\n%s", err, out)
		}
		return os.Remove(archives[0])
	})
}

// sources are what images are made of.
type sources struct{ debian, java, spark, operator string }

// Images is the archive of all images. Those that begin with the same layers share
// them.
func Images(ctx context.Context, progress io.Writer) (string, error) {
	var s sources
	var err error
	for _, step := range []func() error{
		func() error { s.operator, err = operatorProgram(ctx, progress); return err },
		func() error { s.spark, err = Spark(ctx, progress); return err },
		func() error {
			s.debian, err = debian.Root(ctx, debian.Options{Packages: packages, Without: withoutPackages, Progress: progress})
			return err
		},
		func() error { s.java, err = javaHome(s.debian); return err },
	} {
		if err := step(); err != nil {
			return "", err
		}
	}
	key := strings.Join([]string{recipe, entrypoint, filepath.Base(s.debian), SparkVersion, filepath.Base(filepath.Dir(s.operator))}, "\n")
	folder, err := once(ctx, "images", key, func(folder string) error {
		fmt.Fprintln(progress, "making the images of Spark and its operator, once; half a minute")
		return s.write(folder)
	})
	return filepath.Join(folder, archiveName), err
}

const archiveName = "images.tar"

// image is one image, made of layers by their names.
type image struct {
	tag    string
	layers []string
	config v1.Config
}

// layers are all that images are made of.
func (s sources) layers() map[string]func(*tar.Writer) error {
	return map[string]func(*tar.Writer) error{
		"debian":   func(w *tar.Writer) error { return addDebian(w, s.debian, s.java) },
		"spark":    func(w *tar.Writer) error { return addSpark(w, s.spark) },
		"operator": func(w *tar.Writer) error { return node.AddFile(w, s.operator, "usr/bin/spark-operator") },
	}
}

// images are the table of them.
func (s sources) images() []image {
	env := []string{
		"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "JAVA_HOME=/" + s.java,
		"SPARK_HOME=/opt/spark", "PYTHONPATH=/opt/spark/python/lib/pyspark.zip:/opt/spark/python/lib/" + pyFour(s.spark),
	}
	return []image{
		{SparkImage, []string{"debian", "spark"}, v1.Config{User: "185", WorkingDir: "/opt/spark/work-dir", Env: env, Entrypoint: []string{"/opt/entrypoint.sh"}}},
		{OperatorImage, []string{"debian", "spark", "operator"}, v1.Config{
			User: "185", WorkingDir: "/opt/spark/work-dir", Env: env, Entrypoint: []string{"/usr/bin/tini", "-s", "--", "/usr/bin/spark-operator"},
		}},
	}
}

// write makes all images, each layer once.
func (s sources) write(folder string) error {
	layers := map[string]v1.Layer{}
	for called, fill := range s.layers() {
		var err error
		if layers[called], err = layer(filepath.Join(folder, called+".layer"), fill); err != nil {
			return fmt.Errorf("the layer %s: %w", called, err)
		}
	}
	all := map[name.Tag]v1.Image{}
	for _, recipe := range s.images() {
		made, err := node.Bare(recipe.config)()
		for _, called := range recipe.layers {
			if err == nil {
				made, err = mutate.AppendLayers(made, layers[called])
			}
		}
		if err != nil {
			return err
		}
		tag, err := name.NewTag(recipe.tag)
		if err != nil {
			return err
		}
		all[tag] = made
	}
	err := tarball.MultiWriteToFile(filepath.Join(folder, archiveName), all)
	for called := range layers {
		err = errors.Join(err, os.Remove(filepath.Join(folder, called+".layer")))
	}
	return err
}

// layer makes one layer. It is packed fast, since it is read once.
func layer(file string, fill func(*tar.Writer) error) (v1.Layer, error) {
	out, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(out)
	if err := errors.Join(fill(w), w.Close(), out.Close()); err != nil {
		return nil, err
	}
	return tarball.LayerFromFile(file, tarball.WithCompressionLevel(gzip.BestSpeed))
}

// javaHome is the folder of Java below the files of Debian, which knows it by more names.
func javaHome(root string) (string, error) {
	found, err := filepath.Glob(filepath.Join(root, "usr/lib/jvm/java-[0-9][0-9]-openjdk-*/bin/java"))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("the packages of Debian brought the Javas %v, want one", found)
	}
	if err != nil {
		return "", err
	}
	return filepath.Rel(root, filepath.Dir(filepath.Dir(found[0])))
}

// addDebian adds Debian's files, and what its packages would have made when they were
// installed.
func addDebian(w *tar.Writer, root, java string) error {
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || file == root {
			return err
		}
		inside, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		for _, leave := range []string{"usr/share/doc", "usr/share/man", "usr/share/locale", "tmp"} {
			if inside == leave {
				return fs.SkipDir
			}
		}
		return node.AddFile(w, file, inside)
	})
	if err != nil {
		return err
	}
	for _, link := range [][2]string{{"usr/bin/java", "/" + java + "/bin/java"}, {"usr/bin/awk", "gawk"}} {
		if _, err := os.Lstat(filepath.Join(root, link[0])); err == nil {
			continue
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: link[0], Linkname: link[1], Mode: 0o777}); err != nil {
			return err
		}
	}
	for file, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nspark:x:185:185::/home/spark:/bin/sh\n", "etc/group": "root:x:0:\nspark:x:185:\n",
		"etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
	} {
		if err := addText(w, file, text, 0o644); err != nil {
			return err
		}
	}
	return addFolders(w, "tmp", "home/spark")
}

// addSpark lays Spark out as its own images do.
func addSpark(w *tar.Writer, spark string) error {
	for from, to := range map[string]string{"deps/bin": "bin", "deps/sbin": "sbin", "deps/jars": "jars", "lib": "python/lib"} {
		entries, err := os.ReadDir(filepath.Join(spark, from))
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if entry.IsDir() || from == "deps/jars" && left(entry.Name()) || from == "lib" && path.Ext(entry.Name()) != ".zip" {
				continue
			}
			if err := node.AddFile(w, filepath.Join(spark, from, entry.Name()), path.Join("opt/spark", to, entry.Name())); err != nil {
				return err
			}
		}
	}
	if err := addText(w, "opt/entrypoint.sh", entrypoint, 0o755); err != nil {
		return err
	}
	return addFolders(w, "opt/spark/work-dir", "opt/spark/conf")
}

// pyFour is the name of the library by which Python talks to Spark.
func pyFour(spark string) string {
	found, err := filepath.Glob(filepath.Join(spark, "lib", "py4j-*.zip"))
	if err != nil || len(found) == 0 {
		return ""
	}
	return filepath.Base(found[0])
}

func left(jar string) bool {
	return slices.ContainsFunc(withoutJars, func(pattern string) bool {
		matched, err := path.Match(pattern, jar)
		return err == nil && matched
	})
}

func addText(w *tar.Writer, file, text string, mode int64) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: file, Mode: mode, Size: int64(len(text))}); err != nil {
		return err
	}
	_, err := io.WriteString(w, text)
	return err
}

// addFolders adds folders in which everybody may write.
func addFolders(w *tar.Writer, names ...string) error {
	for _, name := range names {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o1777}); err != nil {
			return err
		}
	}
	return nil
}
