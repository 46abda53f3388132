package dispatch

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
)

// Config is what a Dispatcher needs.
type Config struct {
	Record     dm.WorkStore                             // required
	Plugins    func(dm.ComponentType) (dm.Plugin, bool) // required; knows each spelling
	Types      []dm.ComponentType                       // those whose plugins may notice or tell something by themselves
	Workers    int                                      // applications worked on at once; 0 means 16
	Scan       time.Duration                            // from one look at everything to the next; 0 means 30 s
	Retry      Retry                                    // of what may pass by itself
	Timeout    time.Duration                            // of one call of a plugin; 0 means 5 minutes
	LogTail    int                                      // bytes that are kept of what a component wrote last; 0 means nothing
	Clock      func() time.Time                         // nil means time.Now
	Step       func(name string)                        // called at each of Steps(); nil means nothing
	Log        *slog.Logger                             // nil means silent
	Registerer prometheus.Registerer                    // nil means not counted
}

// Retry says when a failed attempt is made again. What passes by itself is
// waited out without end, and looked at once each Scan; what nobody foresaw settles
// a change as failed after some attempts.
type Retry struct {
	Base     time.Duration // pause before the second attempt, doubled each time; 0 means 500 ms
	Most     time.Duration // longest pause after what nobody foresaw; 0 means 5 minutes
	Attempts int           // in all that end in what nobody foresaw; 0 means 16, which take about half an hour
}

// pause is the back-off after n failed attempts.
func (r Retry) pause(n int, most time.Duration) time.Duration { return BackOff(r.Base, n, most) }

// BackOff is the pause after n failed attempts: between half and the whole of
// base doubled n-1 times, at most most. The spread keeps what failed together from
// coming back together.
func BackOff(base time.Duration, n int, most time.Duration) time.Duration {
	d := base
	for ; n > 1 && d < most; n-- {
		d *= 2
	}
	d = min(d, most)
	return d/2 + rand.N(d/2+1)
}

// Dispatcher carries out changes. New makes it, Run works.
type Dispatcher struct {
	cfg     Config
	metrics *dispatchMetrics

	mu    sync.Mutex
	ready *sync.Cond                    // of mu: queue has grown, or Run ends
	apps  map[dm.ApplicationName]*entry // those queued, in work or waiting for another attempt
	queue []dm.ApplicationName          // first come, first served
	looks []dm.ApplicationName          // to be looked at when nothing else is to do
	busy  int                           // workers that look
	runs  bool

	hung    map[dm.ApplicationName]*hung // calls of plugins that go on after their time
	watched map[dm.ApplicationName]watched
	noticed map[dm.ApplicationName]bool // by plugins, not yet heeded
	heard   chan struct{}               // something was noticed
}

// entry is the state of one application in the dispatcher. Its job belongs to
// the worker while running is set, so that mu need not be held for it.
type entry struct {
	queued  bool
	look    bool // in looks, or in the hands of a worker that took it from there
	running bool
	again   bool      // woken while running
	due     time.Time // a scan leaves the entry alone until then
	job     job
}

// New checks cfg and starts nothing.
func New(cfg Config) (*Dispatcher, error) {
	switch {
	case cfg.Record == nil:
		return nil, errors.New("dispatch: a dispatcher needs a record")
	case cfg.Plugins == nil:
		return nil, errors.New("dispatch: a dispatcher needs plugins")
	case cfg.Workers < 0 || cfg.Scan < 0 || cfg.Retry.Base < 0 || cfg.Retry.Most < 0 || cfg.Retry.Attempts < 0 || cfg.Timeout < 0 || cfg.LogTail < 0:
		return nil, errors.New("dispatch: a dispatcher's numbers must not be negative")
	}
	cfg.Workers = cmp.Or(cfg.Workers, 16)
	cfg.Scan = cmp.Or(cfg.Scan, 30*time.Second)
	cfg.Retry.Base = cmp.Or(cfg.Retry.Base, 500*time.Millisecond)
	cfg.Retry.Most = cmp.Or(cfg.Retry.Most, 5*time.Minute)
	cfg.Retry.Attempts = cmp.Or(cfg.Retry.Attempts, 16)
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Minute)
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Step == nil {
		cfg.Step = func(string) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Dispatcher{
		cfg: cfg, apps: map[dm.ApplicationName]*entry{}, hung: map[dm.ApplicationName]*hung{},
		watched: map[dm.ApplicationName]watched{}, noticed: map[dm.ApplicationName]bool{}, heard: make(chan struct{}, 1),
	}
	d.ready = sync.NewCond(&d.mu)
	var err error
	d.metrics, err = newDispatchMetrics(cfg.Registerer, d.pending)
	return d, err
}

// Wake tells that app may have something to do. It never blocks, may be called
// at any time and by anyone, and is never lost: when app is worked on at the
// moment, it is looked at once more afterwards.
func (d *Dispatcher) Wake(app dm.ApplicationName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.enqueue(app)
}

// enqueue needs mu.
func (d *Dispatcher) enqueue(app dm.ApplicationName) {
	e := d.apps[app]
	if e == nil {
		e = &entry{}
		d.apps[app] = e
	}
	switch {
	case e.running:
		e.again = true
	case !e.queued:
		e.queued = true
		d.queue = append(d.queue, app)
		d.ready.Signal()
	}
}

// Run looks at everything, also at what failed changes left when they could not
// be taken back, then works on wake-ups and on what plugins notice, and looks again
// every Scan, also at how what stands does.
// When ctx ends it cancels the plugins at work, waits for its workers and
// returns nil; what was not settled is taken up by the next Run.
func (d *Dispatcher) Run(ctx context.Context) error {
	d.mu.Lock()
	if d.runs {
		d.mu.Unlock()
		return errors.New("dispatch: the dispatcher is already running")
	}
	d.runs = true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.runs = false
		d.mu.Unlock()
	}()

	var workers sync.WaitGroup
	defer workers.Wait()
	for range d.cfg.Workers {
		workers.Go(func() { d.serve(ctx, &workers) })
	}
	for _, t := range d.cfg.Types {
		plugin, _ := d.cfg.Plugins(t)
		if able, ok := plugin.(dm.Watcher); ok {
			workers.Go(func() { d.watch(ctx, t, able) })
		}
	}
	for _, app := range d.cfg.Record.Leftovers() {
		d.Wake(app)
	}
	scan := time.NewTimer(0)
	defer scan.Stop()
	var heed <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			d.mu.Lock()
			d.ready.Broadcast() // the workers that wait see that ctx has ended
			d.mu.Unlock()
			return nil
		case <-scan.C:
			d.scan()
			d.lookAtAll()
			scan.Reset(d.cfg.Scan)
		case <-d.heard:
			if heed == nil {
				heed = time.After(d.cfg.Retry.Base)
			}
		case <-heed:
			if heed = nil; d.heed() {
				heed = time.After(d.cfg.Retry.Base)
			}
		}
	}
}

// scan queues everything that is desired and not observed, save what is worked
// on (a change during the work makes its observation stale) and what waits for
// its next attempt.
func (d *Dispatcher) scan() {
	pending := d.cfg.Record.Pending()
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.cfg.Clock()
	for _, app := range pending {
		if e := d.apps[app]; e == nil || !e.running && !e.due.After(now) {
			d.enqueue(app)
		}
	}
}

// serve is one worker: it works off the queue until ctx ends.
func (d *Dispatcher) serve(ctx context.Context, owner *sync.WaitGroup) {
	for {
		app, e, ok := d.take(ctx)
		if !ok {
			return
		}
		next := d.pass(ctx, app, &e.job)
		d.release(ctx, app, e, next, owner)
	}
}

// take waits for the next application; ok = false when ctx has ended.
func (d *Dispatcher) take(ctx context.Context) (app dm.ApplicationName, e *entry, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for ctx.Err() == nil {
		switch {
		case len(d.queue) > 0:
			app, d.queue = d.queue[0], d.queue[1:]
			e = d.apps[app]
			e.look = false
		case len(d.looks) > 0 && d.busy < max(1, d.cfg.Workers/2):
			app, d.looks = d.looks[0], d.looks[1:]
			if e = d.apps[app]; e == nil || !e.look || e.running || e.queued {
				continue // it had work, and was looked at with it
			}
			d.busy++
		default:
			d.ready.Wait()
			continue
		}
		e.queued, e.running, e.due = false, true, time.Time{}
		return app, e, true
	}
	return "", nil, false
}

// next says what follows a pass.
type next struct {
	after time.Duration // another attempt after this pause; 0 means at once
	more  bool          // false: the application is settled for now
	look  bool          // something new stands, and how it does is not known yet
}

func (d *Dispatcher) release(ctx context.Context, app dm.ApplicationName, e *entry, n next, owner *sync.WaitGroup) {
	d.mu.Lock()
	defer d.mu.Unlock()
	again := e.again
	if e.look {
		d.busy--
		d.ready.Signal() // another one may look
	}
	e.running, e.again, e.look = false, false, false
	switch {
	case again || n.more && n.after == 0:
		d.enqueue(app)
	case n.more:
		e.due = d.cfg.Clock().Add(n.after)
		wait := time.After(n.after)
		owner.Go(func() {
			select {
			case <-ctx.Done():
			case <-wait:
				d.Wake(app)
			}
		})
	default:
		delete(d.apps, app)
		if n.look {
			d.enqueueLook(app)
		}
	}
}

// pending counts the applications whose change is queued, in work or waiting.
func (d *Dispatcher) pending() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, e := range d.apps {
		if !e.look {
			n++
		}
	}
	return float64(n)
}

// dispatchMetrics are the dispatcher's figures.
type dispatchMetrics struct {
	outcomes *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newDispatchMetrics(r prometheus.Registerer, pending func() float64) (*dispatchMetrics, error) {
	m := &dispatchMetrics{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dm_dispatch_outcomes_total",
			Help: "Passes over changes of applications, by action and by how they ended.",
		}, []string{"action", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "dm_dispatch_duration_seconds",
			Help:    "Time of one pass over a change, by action.",
			Buckets: prometheus.ExponentialBuckets(0.005, 4, 9),
		}, []string{"action"}),
	}
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dm_dispatch_pending",
		Help: "Applications that are queued, in work or waiting for another attempt.",
	}, pending)
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.outcomes, m.duration, waiting} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
