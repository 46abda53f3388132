package testcluster

import (
	"context"
	"fmt"
	"time"
)

// Eventually asks every 50 milliseconds until ask returns nil. When ctx ends
// first, the error holds its cause and what ask said last.
func Eventually(ctx context.Context, ask func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		fault := ask()
		if fault == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; the last answer: %w", context.Cause(ctx), fault)
		case <-tick.C:
		}
	}
}
