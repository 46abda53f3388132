package repair

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/durable"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Repaired is what a repair came to.
type Repaired struct {
	Back []dm.Repository `json:"back"` // in service again
	Left []SetAside      `json:"left"` // out of service still
}

// An administrator who may write to the data folder asks the server that owns it
// for a repair through two files in damaged/: no port, no credential, and it works
// from a shell in the server's pod.
const (
	askPrefix    = "repair-"
	askEnding    = ".ask"
	answerEnding = ".answer"

	askPause       = 50 * time.Millisecond
	askPatience    = time.Minute      // until a server takes the question
	answerPatience = 15 * time.Minute // until it answers; one that is killed before never does
)

// Repair brings back the refs of repositories that are out of service because
// some are gone, as far as the record knows them, and looks once, now, at every
// repository that is out of service or in doubt.
func (s *Service) Repair(ctx context.Context) Repaired {
	for _, aside := range s.SetAside() {
		if err := s.restoreRefs(ctx, aside.Repository); err != nil && ctx.Err() == nil {
			s.Log.Error("missing refs could not be restored", "kind", aside.Repository.Kind, "name", aside.Repository.Name, "err", err)
		}
	}
	return s.LookNow(ctx)
}

// LookNow looks at every repository that is out of service or in doubt.
func (s *Service) LookNow(ctx context.Context) Repaired {
	before := s.SetAside()
	s.again.mu.Lock()
	all := make([]dm.Repository, 0, len(s.again.due))
	for r := range s.again.due {
		all = append(all, r)
	}
	s.again.mu.Unlock()
	for _, r := range all {
		if ctx.Err() != nil {
			break
		}
		s.lookAt(ctx, r)
	}
	done := Repaired{Left: s.SetAside()}
	for _, was := range before {
		if !slices.ContainsFunc(done.Left, func(left SetAside) bool { return left.Repository == was.Repository }) {
			done.Back = append(done.Back, was.Repository)
		}
	}
	return done
}

// questions are the files of administrators who wait.
func (s *Service) questions() []string {
	entries, err := os.ReadDir(filepath.Join(s.Data.Dir, repo.DamagedDir))
	if err != nil {
		return nil // a moment later there is another look
	}
	var list []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), askPrefix) && strings.HasSuffix(e.Name(), askEnding) {
			list = append(list, filepath.Join(s.Data.Dir, repo.DamagedDir, e.Name()))
		}
	}
	return list
}

// answerQuestions does what is asked. Taking a question removes it.
func (s *Service) answerQuestions(ctx context.Context) {
	questions := s.questions()
	if len(questions) == 0 {
		return
	}
	for _, path := range questions {
		if err := os.Remove(path); err != nil {
			s.Log.Error("cannot read a request for repair", "err", err)
			return
		}
	}
	text, err := json.Marshal(s.Repair(ctx))
	for _, path := range questions {
		if err == nil {
			err = durable.WriteFile(strings.TrimSuffix(path, askEnding)+answerEnding, text)
		}
	}
	if err != nil {
		s.Log.Error("cannot answer a request for repair", "err", err)
	}
}

// ForgetQuestions removes what those left who did not wait for their answer.
func (s *Service) ForgetQuestions() error {
	left, err := filepath.Glob(filepath.Join(s.Data.Dir, repo.DamagedDir, askPrefix+"*"))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// Ask has the server that owns the data folder dir make a repair, and
// returns what came of it. Kind Unavailable: nobody takes the question.
func Ask(ctx context.Context, dir string) (done Repaired, err error) {
	const op = "repair.Ask"
	f, err := os.CreateTemp(filepath.Join(dir, repo.DamagedDir), askPrefix+"*"+askEnding)
	if err != nil {
		return done, dm.Errorf(dm.Unavailable, op, "the data folder is not writable: %s", repo.Reason(err)).Because(err)
	}
	question := f.Name()
	answer := strings.TrimSuffix(question, askEnding) + answerEnding
	defer func() { err = errors.Join(err, removeIfThere(question), removeIfThere(answer)) }()
	if err := f.Close(); err != nil {
		return done, dm.Wrap(op, err)
	}
	for begin := time.Now(); ; {
		text, err := os.ReadFile(answer)
		if err == nil {
			return done, dm.Wrap(op, json.Unmarshal(text, &done))
		}
		patience, hint := askPatience, "it may be starting; try again, or stop it and then repair"
		if _, err := os.Lstat(question); errors.Is(err, fs.ErrNotExist) {
			patience, hint = answerPatience, "see its log for whether the repair is still running, and try again"
		}
		if time.Since(begin) > patience {
			return done, dm.Errorf(dm.Unavailable, op, "the server that uses the data folder does not answer").WithHint("%s", hint)
		}
		select {
		case <-ctx.Done():
			return done, dm.Errorf(dm.Unavailable, op, "interrupted while waiting for the repair").Because(ctx.Err())
		case <-time.After(askPause):
		}
	}
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
