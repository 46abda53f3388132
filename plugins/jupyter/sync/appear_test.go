package sync_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFilesThatAppear saves files of the user at the last moment: right before
// the program runs that brings a delivered file to the same place. It is once
// ln, and once mv, as on a disk that knows no links.
func TestFilesThatAppear(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ program, other, when string }{
		{"ln", "", "*"},
		{"mv", "ln", "-n*"},
	} {
		t.Run(c.program, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, []string{"dash"})
			l.deliver(first)
			l.sync()
			real, err := exec.LookPath(c.program)
			l.must(err)
			bin := t.TempDir()
			before := `#!/bin/sh
case "$1" in ` + c.when + `)
	for file in "$@"; do
		case $file in ./app/a.ipynb | ./app/new.ipynb)
			if mkdir "` + bin + `/saved-${file##*/}" 2>/dev/null; then printf mine >"` + l.folder() + `/$file"; fi ;;
		esac
	done ;;
esac
exec ` + real + ` "$@"
`
			l.must(os.WriteFile(filepath.Join(bin, c.program), []byte(before), 0o700))
			if c.other != "" {
				l.must(os.WriteFile(filepath.Join(bin, c.other), []byte("#!/bin/sh\nexit 1\n"), 0o700))
			}
			l.env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
			l.deliver(with(files{"app/a.ipynb": "a two", "app/b.ipynb": "b two", "app/new.ipynb": "new"}))
			if out := l.try(); !strings.HasPrefix(out, "apps-notebooks: ") {
				t.Errorf("the script told %q", out)
			}
			l.sync()
			l.sync()
			for _, file := range []string{"a.ipynb", "new.ipynb"} {
				if _, err := os.Stat(filepath.Join(bin, "saved-"+file)); err != nil {
					t.Errorf("%s was not saved in between: %v", file, err)
				}
			}
			l.want(with(files{
				"app/a.ipynb": "mine", "app/a.1.2.0.ipynb": "a two", "app/b.ipynb": "b two",
				"app/new.ipynb": "mine", "app/new.1.2.0.ipynb": "new",
			}))
		})
	}
}
