package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
)

// stuck are the reasons for which a container waits and does not begin by itself.
var stuck = []string{
	"ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError",
	"CrashLoopBackOff", "RunContainerError",
}

// PodTrouble tells why a pod does not do its work, "" when it does or has done it.
func PodTrouble(p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return plain(fmt.Sprintf("no node takes the pod %s: %s", p.Name, c.Message))
		}
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := c.State.Waiting; w != nil && slices.Contains(stuck, w.Reason) {
			text := fmt.Sprintf("the container %s of the pod %s waits: %s", c.Name, p.Name, w.Reason)
			if last := c.LastTerminationState.Terminated; last != nil {
				text += ", " + ended(last)
			} else if w.Message != "" {
				text += ", " + w.Message
			}
			return plain(text)
		}
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
			return plain(fmt.Sprintf("the container %s of the pod %s ended: %s", c.Name, p.Name, ended(t)))
		}
	}
	if p.Status.Phase == corev1.PodFailed {
		return plain(fmt.Sprintf("the pod %s failed: %s", p.Name, cmp.Or(p.Status.Message, p.Status.Reason, "no reason given")))
	}
	return ""
}

func ended(t *corev1.ContainerStateTerminated) string {
	text := "exit code " + strconv.Itoa(int(t.ExitCode))
	if t.Reason != "" && t.Reason != "Error" {
		text += " (" + t.Reason + ")"
	}
	if t.Message != "" {
		text += ": " + t.Message
	}
	return text
}

// Events tells the newest warnings about an object, the newest first; "" when there
// are none.
func (c *Cluster) Events(ctx context.Context, namespace, kind, name string) (string, error) {
	const most = 3
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	about := fields.Set{"involvedObject.kind": kind, "involvedObject.name": name, "type": corev1.EventTypeWarning}
	list, err := c.client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: about.String(), Limit: 100})
	if err != nil {
		return "", c.fault("kube.Events", "", err)
	}
	slices.SortFunc(list.Items, func(a, b corev1.Event) int { return b.LastTimestamp.Compare(a.LastTimestamp.Time) })
	var texts []string
	for _, e := range list.Items[:min(len(list.Items), most)] {
		texts = append(texts, plain(e.Reason+": "+e.Message))
	}
	return strings.Join(texts, "; "), nil
}

// AskPod asks the HTTP server in a pod, by way of the API server: that works from
// wherever the server runs. The answer is at most 16 MiB: Spark's, of the thousand
// stages that it keeps, has three.
func (c *Cluster) AskPod(ctx context.Context, namespace, pod string, port int, path string) ([]byte, error) {
	const most = 16 << 20
	raw, err := c.client.CoreV1().RESTClient().Get().Namespace(namespace).Resource("pods").SubResource("proxy").
		Name(pod + ":" + strconv.Itoa(port)).Suffix(path).Stream(ctx)
	if err != nil {
		return nil, c.fault("kube.AskPod", "", err)
	}
	defer raw.Close()
	return readMost(raw, most)
}
