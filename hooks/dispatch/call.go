package dispatch

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// lingering is how long a call of a plugin may take to end after its context has.
const lingering = 10 * time.Second

// hung is a call of a plugin that goes on after its time.
type hung struct {
	of    dm.ComponentType
	ended <-chan struct{}
}

// answer is what a call of a plugin returned.
type answer[T any] struct {
	value T
	err   error
}

// call runs one call of the plugin of t for app within limit. A panic becomes an
// error of kind Internal: one plugin's fault must not end the others' work. A call
// that does not heed the end of its context is left alone, so that it keeps no
// worker and no stop of the server; until it returns, app's other calls wait.
func call[T any](ctx context.Context, d *Dispatcher, app dm.ApplicationName, t dm.ComponentType, limit time.Duration, do func(context.Context) (T, error)) (T, error) {
	var none T
	if of, still := d.stillHangs(app); still {
		return none, dm.Errorf(dm.Unavailable, "dispatch", "the plugin for %s has not returned yet from an earlier call", of)
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	a, still := bounded(limited, d, app, t, do)
	if still != nil {
		d.hangs(app, &hung{t, still})
		d.cfg.Log.Error("plugin does not return", "app", app, "type", t, "after", limit)
	}
	if a.err != nil && limited.Err() != nil && ctx.Err() == nil {
		a.err = dm.Errorf(dm.Unavailable, "dispatch", "the plugin for %s did not finish within %s", t, limit).Because(a.err)
	}
	return a.value, a.err
}

// bounded runs do and waits for it until a while after ctx has ended. still is
// closed when one that was left alone then returns at last; nil when it has.
func bounded[T any](ctx context.Context, d *Dispatcher, app dm.ApplicationName, t dm.ComponentType, do func(context.Context) (T, error)) (a answer[T], still <-chan struct{}) {
	answers, ended := make(chan answer[T], 1), make(chan struct{})
	go func() {
		defer close(ended)
		answers <- safely(ctx, d, app, t, do)
	}()
	select {
	case a = <-answers:
		return a, nil
	case <-ctx.Done():
	}
	select {
	case a = <-answers:
		return a, nil
	case <-time.After(lingering):
		return answer[T]{err: ctx.Err()}, ended
	}
}

func safely[T any](ctx context.Context, d *Dispatcher, app dm.ApplicationName, t dm.ComponentType, do func(context.Context) (T, error)) (a answer[T]) {
	defer func() {
		if r := recover(); r != nil {
			d.cfg.Log.Error("plugin panicked", "app", app, "type", t, "request_id", dm.RequestID(ctx),
				"panic", r, "stack", string(debug.Stack()))
			a.err = dm.Errorf(dm.Internal, "dispatch", "the plugin for %s failed unexpectedly", t).Because(fmt.Errorf("panic: %v", r))
		}
	}()
	a.value, a.err = do(ctx)
	return a
}

func (d *Dispatcher) hangs(app dm.ApplicationName, h *hung) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hung[app] = h
}

// stillHangs tells whether a call for app goes on after its time, and of which
// type.
func (d *Dispatcher) stillHangs(app dm.ApplicationName) (dm.ComponentType, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hung[app]
	if h == nil {
		return "", false
	}
	select {
	case <-h.ended:
		delete(d.hung, app)
		return "", false
	default:
		return h.of, true
	}
}
