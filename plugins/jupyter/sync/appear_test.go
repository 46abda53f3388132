package sync_test

import (
	"strings"
	"testing"
)

// TestFilesThatAppear saves files of the user at the last moment: right before
// the change that brings a delivered file to the same place.
func TestFilesThatAppear(t *testing.T) {
	t.Parallel()
	for name, refused := range map[string]string{"exchange": "", "no exchange": "exchange=EINVAL", "NFS": "exchange=EINVAL,move=EINVAL"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil)
			l.deliver(first)
			l.sync()
			last := "link"
			if !strings.Contains(refused, "move") {
				last = "move"
			}
			l.env = []string{refuse + "=" + refused, save + "=exchange:app/a.ipynb," + last + ":app/new.ipynb," + last + ":app/data/c.csv"}
			version := l.deliver(with(files{"app/a.ipynb": "a two", "app/b.ipynb": "b two", "app/new.ipynb": "new", "app/data/c.csv": ""}))
			out := l.try()
			l.env = nil
			if !strings.HasPrefix(out, "apps-notebooks: up to date") {
				t.Errorf("the program told %q", out)
			}
			for range 2 { // the second run changes nothing
				l.want(with(files{
					"app/a.ipynb": saved, "app/a." + version + ".ipynb": "a two", "app/b.ipynb": "b two",
					"app/new.ipynb": saved, "app/new." + version + ".ipynb": "new", "app/data/c.csv": saved,
				}))
				l.sync()
			}
		})
	}
}
