package form

import (
	"cmp"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// LogsTree is the entry of an outcome's tree under which the last lines of
// components are: <type>/<component>/<time>.log.
const LogsTree = "logs"

// How many are kept in the newest outcome; older ones stay in the history.
const (
	LogsOfOne = 5   // component
	LogsOfAll = 200 // components, also those that are no more
)

// logTime is the name of a file of them, which sorts as its time does.
const logTime = "20060102T150405.000000000Z"

// LogName is the name of a log that was taken at t.
func LogName(t time.Time) string { return t.UTC().Format(logTime) + ".log" }

// ParseLogName is the inverse of LogName.
func ParseLogName(name string) (time.Time, error) {
	t, err := time.Parse(logTime+".log", name)
	if err == nil && LogName(t) != name {
		err = errors.New("not a time as the server writes it")
	}
	return t, err
}

// AddLogs writes the tree of what is kept when fresh comes to what before has; zero
// stands for nothing.
func AddLogs(w repo.Adder, objects *repo.Objects, before plumbing.Hash, fresh []dm.KeptLog) (plumbing.Hash, error) {
	if len(fresh) == 0 {
		return before, nil
	}
	files, err := Logs(objects, before)
	if err != nil {
		return before, err
	}
	for _, log := range fresh {
		blob, err := w.Add(plumbing.BlobObject, log.Text)
		if err != nil {
			return before, err
		}
		files[string(log.Type)+"/"+string(log.Component)+"/"+LogName(log.Time)] = blob
	}
	top := repo.NewTree()
	for _, path := range newestLogs(slices.Collect(maps.Keys(files))) {
		top.Set(path, filemode.Regular, repo.Known(files[path]))
	}
	return top.Write(w)
}

// newestLogs are the paths of those that are kept.
func newestLogs(paths []string) (kept []string) {
	slices.SortFunc(paths, func(a, b string) int { // newest first
		return cmp.Or(strings.Compare(b[strings.LastIndexByte(b, '/'):], a[strings.LastIndexByte(a, '/'):]), strings.Compare(a, b))
	})
	of := map[string]int{}
	for _, path := range paths {
		component := path[:strings.LastIndexByte(path, '/')]
		if of[component]++; of[component] <= LogsOfOne && len(kept) < LogsOfAll {
			kept = append(kept, path)
		}
	}
	return kept
}

// Logs are the files of a tree of logs by path. It is an error when something else
// is in it.
func Logs(objects *repo.Objects, tree plumbing.Hash) (map[string]plumbing.Hash, error) {
	files := map[string]plumbing.Hash{}
	if tree.IsZero() {
		return files, nil
	}
	top, err := objects.Tree(tree)
	if err != nil {
		return nil, err
	}
	walk := object.NewTreeWalker(top, true, nil)
	defer walk.Close()
	for {
		path, e, err := walk.Next()
		switch {
		case errors.Is(err, io.EOF):
			return files, nil
		case err != nil:
			return nil, err
		case e.Mode == filemode.Dir:
			continue
		}
		parts := strings.Split(path, "/")
		if _, err := ParseLogName(parts[len(parts)-1]); err != nil || len(parts) != 3 || e.Mode != filemode.Regular {
			return nil, repo.Broken(repo.Observed, "%s/%s is no log", LogsTree, path)
		}
		files[path] = e.Hash
	}
}

// NewestLog is the newest of one component; ok = false when there is none.
func NewestLog(objects *repo.Objects, tree plumbing.Hash, t dm.ComponentType, component dm.ComponentName) (log dm.KeptLog, ok bool, err error) {
	if tree.IsZero() {
		return log, false, nil
	}
	e, err := objects.Entry(tree, string(t)+"/"+string(component))
	if errors.Is(err, object.ErrEntryNotFound) || errors.Is(err, object.ErrDirectoryNotFound) {
		return log, false, nil
	}
	if err != nil {
		return log, false, err
	}
	files, err := objects.Tree(e.Hash)
	if err != nil || len(files.Entries) == 0 {
		return log, false, err
	}
	newest := files.Entries[len(files.Entries)-1].Name // names of one length sort by time
	log = dm.KeptLog{Type: t, Component: component}
	if log.Time, err = ParseLogName(newest); err == nil {
		log.Text, err = objects.File(e.Hash, newest)
	}
	return log, err == nil, err
}
