package sync_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Variables that interfere with a run's changes of the disk: what is said in
// refuse fails, "exchange=EINVAL,write=ENOSPC"; and instead of change number die
// all of the run is killed, without a chance to clean up.
const (
	refuse = "DM_TEST_REFUSE"
	die    = "DM_TEST_DIE"
	count  = "DM_TEST_COUNT" // the file that gets the number of changes
	at     = "DM_TEST_AT"    // "7=ENOSPC": change number 7 fails, and all after it
	save   = "DM_TEST_SAVE"  // "exchange:app/a.ipynb": before the first such change somebody saves the file
	pause  = "DM_TEST_PAUSE" // "exchange:FILE": the second such change waits for the file; "1mark:FILE": the first
	slow   = "DM_TEST_SLOW"  // "create:50ms": each such change takes so long
)

const saved = "saved by somebody"

var errnos = map[string]syscall.Errno{
	"EINVAL": syscall.EINVAL, "EPERM": syscall.EPERM, "EACCES": syscall.EACCES, "ENOSPC": syscall.ENOSPC, "EDQUOT": syscall.EDQUOT, "EROFS": syscall.EROFS,
	"ENAMETOOLONG": syscall.ENAMETOOLONG,
}

func interference() func(string) error {
	refused := map[string]error{}
	for rule := range strings.SplitSeq(os.Getenv(refuse), ",") {
		change, name, _ := strings.Cut(rule, "=")
		refused[change] = errnos[name]
	}
	deadly, _ := strconv.Atoi(os.Getenv(die)) // 0 is never
	number, name, _ := strings.Cut(os.Getenv(at), "=")
	from, _ := strconv.Atoi(number)
	n, seen := 0, map[string]int{}
	return func(change string) error {
		n++
		seen[change]++
		for rule := range strings.SplitSeq(os.Getenv(save), ",") {
			if is, path, _ := strings.Cut(rule, ":"); is == change && seen[change] == 1 {
				if err := os.WriteFile(filepath.Join(os.Getenv("HOME"), "apps-notebooks", path), []byte(saved), 0o600); err != nil {
					panic(err)
				}
			}
		}
		if is, long, _ := strings.Cut(os.Getenv(slow), ":"); is == change {
			d, err := time.ParseDuration(long)
			if err != nil {
				panic(err)
			}
			time.Sleep(d)
		}
		if is, path, _ := strings.Cut(os.Getenv(pause), ":"); is == change && seen[change] == 2 || is == "1"+change && seen[change] == 1 {
			for _, err := os.Stat(path); err != nil; _, err = os.Stat(path) {
				time.Sleep(5 * time.Millisecond)
			}
		}
		if name := os.Getenv(count); name != "" {
			if err := os.WriteFile(name, strconv.AppendInt(nil, int64(n), 10), 0o600); err != nil {
				panic(err)
			}
		}
		if n == deadly {
			_ = syscall.Kill(0, syscall.SIGKILL)
			select {}
		}
		if from > 0 && n >= from && change != "rmdir" && change != "unlink" {
			return errnos[name]
		}
		return refused[change]
	}
}
