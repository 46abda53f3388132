package kube

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	dm "github.com/pndaproject/deployment-manager"
)

// Bounds of one reading of logs.
const (
	logPods  = 20      // the newest
	logBytes = 4 << 20 // of each, unless it is followed
	logLine  = 1 << 20 // longer ones are cut into pieces
	logPause = time.Second
)

// Logs writes the newest lines that the pods of a selector wrote, and what comes when
// follow is set, also from pods that come later, until ctx ends or all have ended.
// With several pods each line says whose it is. Kinds: NotFound (there is no pod),
// Unavailable.
func (c *Cluster) Logs(ctx context.Context, w io.Writer, namespace string, selector map[string]string, lines int, follow bool) error {
	r := &logReading{c: c, namespace: namespace, selector: labels.Set(selector).String(), lines: lines, follow: follow,
		out: &lineWriter{w: w}, seen: map[types.UID]bool{}}
	pods, err := r.pods(ctx)
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return dm.Errorf(dm.NotFound, "kube.Logs", "no pod is there")
	}
	r.named = len(pods) > 1 || follow
	if !follow {
		for _, p := range pods {
			if err := r.read(ctx, p); err != nil {
				return err
			}
		}
		return r.out.err
	}
	return r.followAll(ctx, pods)
}

// logReading is one answer.
type logReading struct {
	c                   *Cluster
	namespace, selector string
	lines               int
	follow, named       bool
	out                 *lineWriter

	mu   sync.Mutex
	seen map[types.UID]bool // pods that are being read, or were
}

// pods are the newest of the selector, the oldest of them first.
func (r *logReading) pods(ctx context.Context) ([]corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	list, err := r.c.client.CoreV1().Pods(r.namespace).List(ctx, metav1.ListOptions{LabelSelector: r.selector})
	if err != nil {
		return nil, r.c.fault("kube.Logs", "", err)
	}
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return list.Items[max(0, len(list.Items)-logPods):], nil
}

// followAll reads every pod that is there or comes.
func (r *logReading) followAll(ctx context.Context, pods []corev1.Pod) error {
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer func() { cancel(); reading.Wait() }()
	tick := time.NewTicker(logPause)
	defer tick.Stop()
	for {
		busy := false
		for _, p := range pods {
			busy = busy || p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
			if begun(p) && r.first(p.UID) {
				reading.Go(func() {
					if err := r.read(ctx, p); err != nil && ctx.Err() == nil {
						r.c.cfg.Log.Debug("the log of a pod ended early", "pod", p.Name, "err", err)
					}
				})
			}
		}
		if !busy {
			reading.Wait()
			return r.out.fault()
		}
		if err := r.out.fault(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		var err error
		if pods, err = r.pods(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

// begun tells whether a container of the pod has begun, before which it has no log.
func begun(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
		return c.State.Running != nil || c.State.Terminated != nil || c.LastTerminationState.Terminated != nil
	})
}

func (r *logReading) first(pod types.UID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.seen[pod]
	r.seen[pod] = true
	return !was
}

// read writes what one pod has to say. One whose container has not begun says nothing.
func (r *logReading) read(ctx context.Context, p corev1.Pod) error {
	if !begun(p) {
		return nil
	}
	lines, most := int64(r.lines), int64(logBytes)
	options := &corev1.PodLogOptions{Container: p.Spec.Containers[0].Name, TailLines: &lines, Follow: r.follow}
	if !r.follow {
		options.LimitBytes = &most
	}
	stream, err := r.c.client.CoreV1().Pods(p.Namespace).GetLogs(p.Name, options).Stream(ctx)
	if err != nil {
		return r.c.fault("kube.Logs", "the log of the pod "+p.Name, err)
	}
	defer stream.Close()
	prefix := ""
	if r.named {
		prefix = fmt.Sprintf("[%s] ", p.Name)
	}
	in := bufio.NewReaderSize(stream, 64<<10)
	for {
		line, err := readLine(in)
		if len(line) > 0 && r.out.write(prefix, line) != nil {
			return r.out.fault()
		}
		if err != nil {
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return nil
			}
			return r.c.fault("kube.Logs", "the log of the pod "+p.Name, err)
		}
	}
}

// readLine reads to the end of a line, or so much of it as is kept together.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		piece, err := in.ReadSlice('\n')
		line = append(line, piece...)
		if !errors.Is(err, bufio.ErrBufferFull) || len(line) >= logLine {
			if errors.Is(err, bufio.ErrBufferFull) {
				err = nil
			}
			return line, err
		}
	}
}

// lineWriter writes whole lines of several goroutines, and remembers the first error.
type lineWriter struct {
	mu  sync.Mutex
	w   io.Writer
	err error
}

func (l *lineWriter) write(prefix string, line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		_, l.err = fmt.Fprintf(l.w, "%s%s", prefix, line)
		if l.err == nil && line[len(line)-1] != '\n' {
			_, l.err = io.WriteString(l.w, "\n")
		}
	}
	return l.err
}

func (l *lineWriter) fault() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// readMost reads all of in, at most so many bytes.
func readMost(in io.Reader, most int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(in, most+1))
	if err == nil && int64(len(raw)) > most {
		err = fmt.Errorf("kube: an answer of more than %d bytes", most)
	}
	return raw, err
}
