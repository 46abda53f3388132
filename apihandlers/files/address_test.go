package files_test

import (
	"bytes"
	"crypto/sha256"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers/files"
)

var job = dm.DeliveredFile{Application: "noon", Type: "sparkStreaming", Component: "count", Path: "lib/job.py"}

func TestAddressesAreTheSameEachTime(t *testing.T) {
	t.Parallel()
	digest := sha256.Sum256([]byte("x"))
	one, err := files.NewSigner(base, key)
	must(t, err)
	other, err := files.NewSigner(base+"/", bytes.Clone(key))
	must(t, err)
	const want = base + "/files/PjnrxneYG-oY6uv2rYt-CMok1GlHSUXmtimsB-CtMGA/file/2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881/noon/sparkStreaming/count/lib/job.py"
	if got := one.Address(job, digest); got != want || other.Address(job, digest) != want {
		t.Errorf("addresses are %s and %s, want %s", got, other.Address(job, digest), want)
	}
}

// TestAddressesOfAnyName: they end in the file's own name, by which Spark calls what
// it fetched, and stand in lists between commas, and in words of Kubernetes that
// expand $(…).
func TestAddressesOfAnyName(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	for _, name := range []string{"job.py", "a b.jar", "a,b;c.jar", "50%.py", "%2F.py", "q?x#y.py", "Größe.py", "+&=@:.py", "$(POD_IP).py", `"<'>.py`, ".hidden", "-", "..."} {
		for _, folder := range []string{"", "lib/", "a b/ü/"} {
			f := job
			f.Path = folder + name
			p.record.set(f, "content of "+name, "")
			address := p.signer.Address(f, sha256.Sum256([]byte("content of "+name)))
			u, err := url.Parse(address)
			must(t, err)
			if last, err := url.PathUnescape(path.Base(u.EscapedPath())); err != nil || last != name || path.Base(u.Path) != name {
				t.Errorf("%s ends in %q, want %q", address, last, name)
			}
			if strings.ContainsAny(address, " ,;\"'<>()#?") {
				t.Errorf("%s has what ends an address in a list or a text", address)
			}
			p.opens(strings.TrimPrefix(address, base), "content of "+name)
		}
	}
}

func TestSignerChecks(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "deployment-manager:5000", "ftp://h", "http://", "http://u:p@h", "http://h?x=1", "http://h#x", "http://h/a b\x00"} {
		if _, err := files.NewSigner(bad, key); dm.KindOf(err) != dm.Invalid || !strings.Contains(dm.Public(err), "http://deployment-manager.pnda:5000") {
			t.Errorf("%q: error = %v, want kind invalid with an example", bad, err)
		}
	}
	if _, err := files.NewSigner(base, key[:31]); dm.KindOf(err) != dm.Invalid {
		t.Errorf("a short key: error = %v, want kind invalid", err)
	}
}

func TestKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	at := filepath.Join(t.TempDir(), files.KeyFile)
	must(t, os.WriteFile(at+".new", []byte("left by a server that was killed"), 0o666))
	first, err := files.LoadKey(at)
	must(t, err)
	again, err := files.LoadKey(at)
	must(t, err)
	if len(first) != 32 || !bytes.Equal(first, again) {
		t.Errorf("keys are %x and %x, want one of 32 bytes", first, again)
	}
	info, err := os.Stat(at)
	must(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("its mode is %v, want 0600", info.Mode())
	}
	if list, err := os.ReadDir(filepath.Dir(at)); err != nil || len(list) != 1 {
		t.Errorf("the folder has %v, %v, want the key alone", list, err)
	}
	other, err := files.LoadKey(filepath.Join(t.TempDir(), files.KeyFile))
	must(t, err)
	if bytes.Equal(first, other) {
		t.Error("two servers have one key")
	}
	for _, damaged := range []string{"", "short", strings.Repeat("x", 33)} {
		must(t, os.WriteFile(at, []byte(damaged), 0o600))
		if _, err := files.LoadKey(at); dm.KindOf(err) != dm.Invalid || !strings.Contains(dm.Public(err), "files-key") {
			t.Errorf("%q: error = %v, want kind invalid that names the file", damaged, err)
		}
	}
	if _, err := files.LoadKey(filepath.Join(t.TempDir(), "none", "key")); err == nil {
		t.Error("a key without a folder was made")
	}
}
