package repair

import (
	"context"
	"log/slog"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// How long a start waits for what it can't do without.
const (
	startPatience   = 20 * time.Second
	startPauseFirst = 20 * time.Millisecond
	startPauseLast  = time.Second
)

// Patiently does a step of the start again while something is short, and then
// says what. Kind Unavailable.
func Patiently(ctx context.Context, log *slog.Logger, what string, do func() error) error {
	const op = "repair.Patiently"
	begin, pause := time.Now(), startPauseFirst
	for {
		err := do()
		if err == nil || ctx.Err() != nil || !repo.Passes(err) {
			return err
		}
		if time.Since(begin) > startPatience {
			return dm.Errorf(dm.Unavailable, op, "could not start: %s failed for %s: %s", what, startPatience, repo.Reason(err)).
				WithHint("check the limits of processes, open files and memory, and the disk").Because(err)
		}
		log.Warn("a step of the start failed and is tried again", "step", what, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, startPauseLast)
	}
}
